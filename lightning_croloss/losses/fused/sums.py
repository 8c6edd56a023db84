"""Sums: Σ_j u_j φ(d_j) of each row, added up tile by tile."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.common.exponential import exp_
from lightning_croloss.losses.kernels import Kernel


class Sums:
    """Σ_j u_j φ(d_j) of each row, as ``exp(log_scale) · total`` where φ may overflow."""

    def __init__(self, like: Tensor, logarithms: bool) -> None:
        self.logarithms = logarithms
        self.empty = True
        self.total = self.log_scale = like  # until the first tile

    def log_rank(self, log_inner: Tensor | None, own_term: bool = True) -> Tensor:
        """Return log(1 + inner · Σ), or without the 1, which only sums by logarithms can do."""
        if self.logarithms:  # all of the sum is in the scale
            log_sum = self.log_scale if log_inner is None else self.log_scale + log_inner
            if not own_term:
                return log_sum
            return torch.logaddexp(log_sum, torch.zeros_like(log_sum))
        return torch.log1p(self.total if log_inner is None else self.total * log_inner.exp())

    def share(self, log_inner: Tensor | None, log_rank: Tensor) -> Tensor:
        """Return d log_rank / dΣ, times exp(log_scale); ``log_rank`` is with or without the 1."""
        if self.logarithms:
            log_sum = self.log_scale if log_inner is None else self.log_scale + log_inner
            return torch.exp(log_sum - log_rank)
        inner = torch.ones_like(self.total) if log_inner is None else log_inner.exp()
        return inner / (1.0 + inner * self.total)


@dataclass(frozen=True)
class Rescaled:
    """After a tile of a kernel that is summed by logarithms.

    Attributes:
        tile: (b,) logarithm of what the tile's values are relative to: of their largest, or of their sum.
        before: (b,) factor of what was summed before; any finite number, before the first tile.
        now: (b,) factor of the tile's values.
        total: (b,) the sum of the tile's values.
    """

    tile: Tensor
    before: Tensor
    now: Tensor
    total: Tensor


def add_tile(
    sums: Sums, kernel: Kernel, x: Tensor, temperature: float, log_weight: Tensor | None, out: Tensor
) -> Rescaled | None:
    """Write φ of a tile into ``out`` and add it up; x is left as it is, unless it is ``out`` itself.

    Where logarithms are summed, ``out`` becomes u φ relative to ``Rescaled.tile``.
    """
    if not sums.logarithms:
        kernel.value_(x, out, temperature)
        if log_weight is None:
            total = out.sum(1)
        elif log_weight.dim() == 1:
            total = torch.mv(out, log_weight.exp())
        else:
            total = (out * log_weight.exp()).sum(1)
        sums.total = total if sums.empty else sums.total + total
        sums.empty = False
        return None
    terms = kernel.log_value_(x, out, temperature)
    if log_weight is not None:
        terms = torch.add(terms, log_weight, out=out)
    largest = terms.amax(1)
    if terms.device.type == "cpu":
        tile = largest
        exp_(torch.sub(terms, largest.unsqueeze(1), out=out))
        own = out.sum(1)
        log_sum = largest + own.log()
    else:  # one operator, where each reads the memory again
        torch.softmax(terms, 1, out=out)
        # the largest of the softmax is exp(largest − log-sum)
        own = torch.ones_like(largest)
        tile = log_sum = largest - out.amax(1).log()
    total = log_sum if sums.empty else torch.logaddexp(sums.log_scale, log_sum)
    now = torch.exp(tile - total)
    rescaled = Rescaled(tile, now if sums.empty else torch.exp(sums.log_scale - total), now, own)
    sums.log_scale, sums.empty = total, False
    return rescaled

"""One block of rows of the fused path, swept over all tiles of candidates (see linear.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_croloss.common.products import fast_product
from lightning_croloss.losses.kernels import FAR_BELOW, Kernel

if TYPE_CHECKING:
    from lightning_croloss.losses.fused.loss import Work


class Sums:
    """Σ_j u_j φ(d_j) of each row, as ``exp(log_scale) · total`` where φ may overflow."""

    def __init__(self, like: Tensor, logarithms: bool) -> None:
        self.logarithms = logarithms
        self.total = torch.zeros_like(like)
        self.log_scale = torch.full_like(like, FAR_BELOW) if logarithms else torch.zeros_like(like)

    def log_rank(self, log_inner: Tensor | None) -> Tensor:
        """Return log(1 + inner · Σ)."""
        if self.logarithms:  # all of the sum is in the scale
            log_sum = self.log_scale if log_inner is None else self.log_scale + log_inner
            return torch.logaddexp(log_sum, torch.zeros_like(log_sum))
        return torch.log1p(self.total if log_inner is None else self.total * log_inner.exp())

    def share(self, log_inner: Tensor | None, log_rank: Tensor) -> Tensor:
        """Return d log(1 + inner · Σ) / dΣ, times exp(log_scale)."""
        if self.logarithms:
            log_sum = self.log_scale if log_inner is None else self.log_scale + log_inner
            return torch.exp(log_sum - log_rank)
        inner = torch.ones_like(self.total) if log_inner is None else log_inner.exp()
        return inner / (1.0 + inner * self.total)


class Sweep:
    """One block of rows over all tiles: Σ u φ, Σ u φ′, the product of φ′ with the candidates; φ′ is kept.

    For kernels that are summed by logarithms everything is relative to ``exp(sums.log_scale)``, and the φ′ of
    a tile to that tile's own scale.
    """

    def __init__(
        self,
        work: Work,
        number: int,
        block: slice,
        factors: tuple[Tensor, Tensor],
        positive_scores: Tensor,
        keep: Tensor,
        needs_slope: bool,
        needs_product: bool,
    ) -> None:
        form, width = work.form, work.tiling.width
        users, candidates = factors[0][block], factors[1]
        self.users, self.dtype = users, work.dtype
        rows = users.shape[0]
        self._fast = fast_product(users, rows) if users.dtype == work.dtype else None
        scaled_users = users / work.scale
        like = positive_scores.squeeze(1)
        self.sums = Sums(like, form.kernel.sums_logarithms)
        self.slope_sum = torch.zeros_like(like)
        self.product = torch.zeros_like(users, dtype=work.dtype)
        self.kept: list[tuple[slice, Tensor, Tensor | None]] = []
        other = form.lambda_kernel if needs_slope else None
        self.other_sums = None if other is None else Sums(like, other.sums_logarithms)
        scratch = torch.empty(rows * min(width, candidates.shape[0]), dtype=work.dtype, device=users.device)
        for tile, first in enumerate(range(0, candidates.shape[0], width)):
            columns = slice(first, min(first + width, candidates.shape[0]))
            items = candidates[columns]
            size = rows * items.shape[0]
            x = scratch[:size].view(rows, -1)
            if self._fast is not None:
                x = self._fast(scaled_users, items)
            elif users.dtype == work.dtype:
                torch.mm(scaled_users, items.T, out=x)
            else:
                x.copy_(torch.mm(users, items.T)).div_(work.scale)
            x.sub_(positive_scores)
            if work.collisions is not None:
                work.collisions.ignore(x, number, tile, FAR_BELOW)
            log_weight = _part(work.draws.log_weight, block, columns)
            if self.other_sums is not None and other is not None:
                ratio = work.scale / other.width(form.temperature)
                _add_tile(
                    self.other_sums, other, x * ratio, form.temperature, log_weight, torch.empty_like(x)
                )
            start = 0 if len(keep) < rows * candidates.shape[0] else rows * first
            out = keep[start : start + size].view(rows, -1)
            scale = _add_tile(self.sums, form.kernel, x, form.temperature, log_weight, out)
            if not needs_slope:
                continue
            form.kernel.slope_(x, out, form.temperature)
            if log_weight is not None and scale is None:
                out.mul_(log_weight.exp())
            self._add(out, items, scale, needs_product)
            self.kept.append((columns, out, None if scale is None else scale.tile))

    def _add(self, slope: Tensor, items: Tensor, scale: _Rescaled | None, needs_product: bool) -> None:
        if scale is not None:  # bring what was summed before, and this tile, to the new common scale
            self.slope_sum.mul_(scale.before).addcmul_(slope.sum(1), scale.now)
            if needs_product:
                product = self._times(slope, items).mul_(scale.now.unsqueeze(1))
                self.product.mul_(scale.before.unsqueeze(1)).add_(product)
            return
        self.slope_sum += slope.sum(1)
        if needs_product and self._fast is None and items.dtype == self.dtype:
            self.product.addmm_(slope, items)
        elif needs_product:
            self.product.add_(self._times(slope, items))

    def add_candidate_gradient(self, coefficient: Tensor, gradient: Tensor) -> None:
        """Add the block's part to the candidates' gradient (M, D)."""
        weighed = self.users * coefficient.unsqueeze(1)
        for columns, slope, scale in self.kept:
            if scale is not None:
                factor = coefficient * torch.exp(scale - self.sums.log_scale)
                weighed = self.users * factor.unsqueeze(1)
            if self._fast is not None:
                gradient[columns].add_(self._fast(weighed.T, slope.T).T)  # faster than its transpose
            elif self.users.dtype == self.dtype:
                gradient[columns].addmm_(slope.T, weighed)
            else:
                gradient[columns].add_(self._times(slope.T, weighed.to(self.users.dtype)))

    def _times(self, slope: Tensor, other: Tensor) -> Tensor:
        """Multiply in the type of the factors; the sum over tiles is kept in that of the ranks."""
        if self._fast is not None:
            return self._fast(slope, other.T)
        return torch.mm(slope.to(other.dtype), other).to(slope.dtype)


@dataclass(frozen=True)
class _Rescaled:
    """After a tile of a kernel that is summed by logarithms.

    Attributes:
        tile: (b,) log of the tile's own sum, relative to which its values are.
        before: (b,) factor of what was summed before.
        now: (b,) factor of the tile's values.
    """

    tile: Tensor
    before: Tensor
    now: Tensor


def _add_tile(
    sums: Sums, kernel: Kernel, x: Tensor, temperature: float, log_weight: Tensor | None, out: Tensor
) -> _Rescaled | None:
    """Write φ of a tile into ``out`` and add it up; x is left as it is.

    Where logarithms are summed, ``out`` becomes the softmax of log(u φ): φ relative to the tile's sum.
    """
    if not sums.logarithms:
        kernel.value_(x, out, temperature)
        if log_weight is None:
            sums.total += out.sum(1)
        elif log_weight.dim() == 1:
            sums.total += torch.mv(out, log_weight.exp())
        else:
            sums.total += (out * log_weight.exp()).sum(1)
        return None
    terms = kernel.log_value_(x, out, temperature)
    if log_weight is not None:
        terms = torch.add(terms, log_weight, out=out)
    largest = terms.amax(1)
    torch.softmax(terms, 1, out=out)
    # the largest of the softmax is exp(largest − log-sum)
    tile = largest - out.amax(1).log()
    total = torch.logaddexp(sums.log_scale, tile)
    rescaled = _Rescaled(tile, torch.exp(sums.log_scale - total), torch.exp(tile - total))
    sums.log_scale = total
    return rescaled


def _part(log_weight: Tensor | None, block: slice, columns: slice) -> Tensor | None:
    if log_weight is None:
        return None
    return log_weight[columns] if log_weight.dim() == 1 else log_weight[block, columns]

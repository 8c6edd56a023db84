"""Reduction: from the losses of rows to what a loss returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

#: What a loss may return: the (weighted) mean of its rows, their (weighted) sum, or one value for each.
REDUCTIONS = ("mean", "sum", "none")


@dataclass(frozen=True)
class Fold:
    """How the losses of R rows go back to the shape of what the caller gave, by adding up.

    Attributes:
        shape: the caller's shape, (B,) or (B, L).
        index: (R,) for each row its position in that shape, flattened.
    """

    shape: torch.Size
    index: Tensor

    @classmethod
    def of_shape(cls, like: Tensor) -> Fold:
        """Return the fold of rows that are the entries of ``like``, one by one."""
        return cls(like.shape, torch.arange(like.numel(), device=like.device))

    def __call__(self, losses: Tensor) -> Tensor:
        """Return the losses (R,) in the caller's shape."""
        total = losses.new_zeros(self.shape.numel())
        return total.index_add(0, self.index, losses).view(self.shape)


def check_reduction(reduction: str) -> str:
    """Return ``reduction`` if it is one of the three, else raise ``ValueError``."""
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    return reduction


def reduce_losses(
    losses: Tensor,
    sample_weight: Tensor | None,
    reduction: str,
    fold: Fold | None = None,
    across: bool = False,
) -> Tensor:
    """Reduce the losses of rows.

    Args:
        losses: (R,).
        sample_weight: (R,) weight of each row, None = 1. The mean is divided by the sum of the weights.
        reduction: "mean", "sum" or "none".
        fold: into what shape to bring the losses that are not reduced; None = (R,).
        across: whether it is that of the rows of all processes, see ``RetrievalLoss.across_processes``.

    Returns:
        A scalar, or for "none" the weighted loss of each row; the mean of no row is 0.
    """
    weight = None if sample_weight is None else sample_weight.to(losses.dtype)
    if reduction == "mean":
        if weight is not None:
            return (weight * losses).sum() / total_weight(weight, across)
        if across:
            return losses.sum() / total_weight(torch.ones_like(losses), across)
        return losses.mean() if losses.numel() else losses.sum()
    if weight is not None:
        losses = weight * losses
    if reduction == "sum":
        return losses.sum() * (num_processes() if across else 1)
    return losses if fold is None else fold(losses)


def blank_unweighted(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Return what rows have (R, …), 0 where a row weighs nothing: 0 times NaN or infinity would be NaN.

    Args:
        values: (R,) or (R, D), few beside the scores.
        sample_weight: (R,) or None. A weight that gets a gradient may be 0 and count.
    """
    if sample_weight is None or sample_weight.requires_grad:
        return values
    nothing = sample_weight == 0
    return values.masked_fill(nothing if values.dim() == 1 else nothing.unsqueeze(1), 0.0)


def total_weight(weight: Tensor, across: bool) -> Tensor:
    """Return the sum of weights (R,) by which a mean is divided; across processes the mean of their sums."""
    total = weight.sum()
    if across and (processes := num_processes()) > 1:
        total = total.detach().clone()
        distributed.all_reduce(total)
        total = total / processes
    return total.clamp(min=torch.finfo(weight.dtype).tiny)


def num_processes() -> int:
    """Return the number of processes of ``torch.distributed``, 1 if there are none."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


def weights_of_rows(
    sample_weight: Tensor | None,
    has_draws: Tensor,
    rows: int,
    dtype: torch.dtype,
    reduction: str,
    across: bool = False,
) -> Tensor:
    """Return the (R,) factor of each row in the sum that is the loss; for "none" that of its own value.

    Args:
        sample_weight: (R,) or None.
        has_draws: () or (R,) bool; a row without draws has loss 0.
        rows: R.
        dtype: type of the result.
        reduction: "mean", "sum" or "none".
        across: as in :func:`reduce_losses`.
    """
    if across and sample_weight is None and reduction == "mean":
        sample_weight = torch.ones(rows, dtype=dtype, device=has_draws.device)
    if sample_weight is None:
        share = 1.0 / max(1, rows) if reduction == "mean" else 1.0
        weights = torch.full((rows,), share, dtype=dtype, device=has_draws.device)
    else:
        weights = sample_weight.to(dtype)
        if reduction == "mean":
            weights = weights / total_weight(weights, across)
    if across and reduction == "sum":
        weights = weights * num_processes()
    return torch.where(has_draws, weights, torch.zeros_like(weights))

"""Pooling of a history into one vector."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS = ("mean", "sum", "max")


def pool_history(embeddings: Tensor, mask: Tensor, how: str) -> Tensor:
    """Pool over the events of each history; an empty history gives zeros.

    Args:
        embeddings: (B, L, D).
        mask: (B, L) bool, True = a real event.
        how: one of :data:`POOLINGS`.

    Returns:
        (B, D).
    """
    if how == "max":
        pooled = embeddings.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(1)
        return torch.where(mask.any(1, keepdim=True), pooled, torch.zeros_like(pooled))
    total = (embeddings * mask.unsqueeze(-1)).sum(1)
    return total if how == "sum" else total / mask.sum(1, keepdim=True).clamp(min=1)


def pool_events(events: Tensor, rows: Tensor, num_rows: int, how: str) -> Tensor:
    """Pool the events of all histories, one after the other, without what is padding; no "max".

    Args:
        events: (E, D).
        rows: (E,) the history of each.
        num_rows: number of histories B; one without events gives zeros.
        how: "mean" or "sum".

    Returns:
        (B, D).
    """
    wide = events.to(torch.promote_types(events.dtype, torch.float32))
    total = wide.new_zeros(num_rows, events.shape[-1]).index_add(0, rows, wide)
    if how == "mean":
        total = total / rows.bincount(minlength=num_rows).clamp(min=1).unsqueeze(1)
    return total.to(events.dtype)

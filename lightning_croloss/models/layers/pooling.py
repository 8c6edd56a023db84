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

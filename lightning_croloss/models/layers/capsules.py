"""Behaviour-to-interest dynamic routing."""

from __future__ import annotations

import torch
from torch import Tensor


def squash(vectors: Tensor) -> Tensor:
    """Shrink vectors (..., D) to a length below 1: ``|z|² / (1 + |z|²) · z / |z|``."""
    squared = vectors.square().sum(-1, keepdim=True)
    return vectors * squared.clamp(min=1e-12).sqrt() / (1.0 + squared)


def route_to_interests(
    behaviours: Tensor, mask: Tensor, logits: Tensor, active: Tensor, iterations: int
) -> Tensor:
    """Group the events of each history into interests.

    Each event spreads its weight 1 over the active interests by a softmax of its routing logits; an interest
    is the squashed sum of its events; the logits grow by the agreement of event and interest. As in the
    public implementations the agreement carries no gradient: only the last sum is trained.

    Args:
        behaviours: (B, L, D) events after the shared bilinear map.
        mask: (B, L) bool, True = a real event.
        logits: (B, K, L) initial routing logits, not trained.
        active: (B, K) bool, the interests that a user may have, at least the first.
        iterations: number of sums, at least 1.

    Returns:
        (B, K, D); zeros for an interest that is not active and for an empty history.
    """
    logits = logits.detach().masked_fill(~active.unsqueeze(-1), float("-inf"))
    fixed = behaviours.detach()
    for last in range(iterations - 1, -1, -1):
        weights = torch.softmax(logits, dim=1) * mask.unsqueeze(1)
        interests = squash(weights @ (behaviours if last == 0 else fixed))
        if last:
            logits = logits + interests @ fixed.transpose(1, 2)
    return interests


def number_of_interests(lengths: Tensor, largest: int) -> Tensor:
    """Return ``max(1, min(K, log2(length)))`` of each history, (B,), rounded down."""
    return lengths.clamp(min=1).double().log2().floor().long().clamp(min=1, max=largest)

"""log Σ_j u_j exp(d_j / τ) over the negatives alone, without the positive's own term."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.losses.batches.call_scores import LOWEST_SCORE
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.kernels import FAR_BELOW


def differences_that_count(batch: ScoredBatch) -> Tensor:
    """Return how much more each negative scores than its row's positive, (B, M), ignored ones far below."""
    if batch.negative_mask is None:
        return batch.difference
    return batch.difference.masked_fill(batch.negative_mask, FAR_BELOW)


def log_sum(differences: Tensor, batch: ScoredBatch, temperature: Tensor) -> Tensor:
    """Return log Σ_j u_j exp(d_j / τ) of each row, (B,).

    Args:
        differences: (B, M) as :func:`differences_that_count` returns them.
        batch: what they are the differences of.
        temperature: () τ.

    Returns:
        (B,), finite; a row of which nothing counts is told by :func:`is_empty`.
    """
    terms = differences / temperature.to(differences.dtype)
    if batch.draws.log_weight is not None:
        terms = terms + batch.draws.log_weight
    largest = batch.largest(terms).clamp(min=FAR_BELOW)  # scores may be −∞, and the sum 0
    return largest + batch.sum(torch.exp(terms - largest.unsqueeze(1))).clamp(min=1.0).log()


def is_empty(log_sums: Tensor, temperature: Tensor) -> Tensor:
    """Return of which rows no negative counts, (B,) bool: all are ignored, or masked by their value.

    Args:
        log_sums: (B,) log Σ.
        temperature: () τ.
    """
    return log_sums * temperature.to(log_sums.dtype) < 0.5 * LOWEST_SCORE

"""log_prob_from_counts: the logQ of a sampler that follows counts."""

from __future__ import annotations

from torch import Tensor


def log_prob_from_counts(counts: Tensor, exponent: float = 1.0) -> Tensor:
    """Return log q of each item, where q is proportional to ``counts ** exponent``.

    Args:
        counts: (C,) how often each item occurs.
        exponent: 1 is proportional to the counts.

    Returns:
        (C,) float32, −∞ where the count is 0.
    """
    weights = counts.double() ** exponent * (counts > 0)
    return (weights / weights.sum()).log().float()

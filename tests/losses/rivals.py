"""A loss as a loop over rows of a formula in Python floats, in which nothing of the package is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import exp

import torch
from torch import Tensor


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def naive(formula: Callable[..., float], num_items: int | None = None) -> Callable[..., Tensor]:
    """Return a loss of scores and options, the weighted mean over rows of a formula.

    The formula's arguments are any of: ``own``, the positive's score; ``others``, those of the negatives;
    ``u``, the weights of these, 0 where one is ignored; ``draws``, M; ``items``, N.
    """
    names = inspect.signature(formula).parameters

    def mean(
        positive: Tensor,
        negative: Tensor,
        negative_mask: Tensor | None = None,
        negative_log_prob: Tensor | None = None,
        num_sampled: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        rows, columns = negative.shape
        mask = torch.zeros(rows, columns).bool() if negative_mask is None else negative_mask
        weights = [1.0] * rows if sample_weight is None else sample_weight.tolist()
        total = 0.0
        for i in range(rows):
            draws = columns if num_sampled is None else int(num_sampled[i])
            items = draws if num_items is None else num_items
            if negative_log_prob is None:
                u = [1.0] * columns
            else:
                u = [1 / (items * exp(log_prob)) for log_prob in negative_log_prob[i].tolist()]
            given = {
                "own": positive[i].item(),
                "others": negative[i].tolist(),
                "u": [0.0 if ignored else w for w, ignored in zip(u, mask[i].tolist(), strict=True)],
                "draws": draws,
                "items": items,
            }
            total += weights[i] * formula(**{name: given[name] for name in names})
        return torch.tensor(total / sum(weights), dtype=torch.float64)

    return mean


def threshold(k: int, others: list[float], u: list[float], draws: int, items: int) -> float:
    """Return the score at position ⌈K M / N⌉ of those that count; with weights, where these add up to it."""
    found, lowest = 0.0, 0.0
    for score, weight in sorted(zip(others, u, strict=True), reverse=True):
        if weight and found < k * draws / items - 1e-9:
            found, lowest = found + weight, score
    return lowest

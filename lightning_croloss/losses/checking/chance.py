"""How likely two scores are equal by chance: numbers of few digits are, whatever their type."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.losses.batches.call_scores import LOWEST_SCORE

#: About so many scores are compared with those of other rows.
_SCORES = 2**14


def of_ties(own: Tensor, scores: Tensor) -> Tensor:
    """Return how often a score equals one of another row, (), at least as often as so few of them could show.

    Within a row equal scores may be those of one item that is there twice; between rows of continuous scores
    there are none. 0 and the lowest score are left out, as padding and ignored ones have these.

    Args:
        own: (b,) the positives' scores.
        scores: (b, M) those of the negatives, at least one.
    """
    scores = scores[:, :: -(-scores.numel() // _SCORES)].contiguous()
    lowest = scores == scores.amin()
    counts = scores.isfinite() & (scores != 0) & (scores > LOWEST_SCORE) & ~(lowest & (lowest.sum() > 1))
    ordered, columns = scores.sort(1).values, scores.shape[1]
    everywhere = _times(scores.view(1, -1).sort(1).values, scores.view(1, -1)).view_as(scores)
    others = (everywhere - _times(ordered, scores)) * counts
    each = counts.sum(1).double()
    pairs = (each.sum().square() - each.square().sum()).clamp(min=1.0)
    rate = (others.sum() + 2.0) / pairs  # each pair is counted twice
    # positives may all have a score that few others have
    rows = own.shape[0]
    at_own = _times(ordered, own.expand(rows, rows).contiguous()) * own.isfinite()
    of_own = at_own.sum() - at_own.diagonal().sum()
    return torch.maximum(rate, of_own / max(1, rows * (rows - 1) * columns))


def _times(ordered: Tensor, values: Tensor) -> Tensor:
    """Return how often each of values (r, n) is among those of its row, ascending (r, m)."""
    after = torch.searchsorted(ordered, values, right=True)
    return after - torch.searchsorted(ordered, values)

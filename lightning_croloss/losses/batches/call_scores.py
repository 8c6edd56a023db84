"""CallScores: what a path tells of the scores of one call, for warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.losses.batches.scored import ScoredBatch

#: Scores below this one are masked ones: frameworks write −∞, −10⁹ or the smallest number of their type.
LOWEST_SCORE = -1e4
#: At most so many rows and columns are looked at.
MOST_ROWS, MOST_COLUMNS = 64, 1024


@dataclass(frozen=True)
class CallScores:
    """What a path tells of the scores of one call.

    Attributes:
        num_candidates: number of candidates M.
        num_items: size of the catalogue as far as it is known.
        differences: gives ``s_j − s₊`` of all pairs or of a sample, (b, m), −∞ where a pair is ignored.
        counted: gives (), the largest number of a row's candidates that are not ignored; None = all count.
    """

    num_candidates: int
    num_items: int | None
    differences: Callable[[], Tensor]
    counted: Callable[[], Tensor] | None = None

    @classmethod
    def of(cls, batch: ScoredBatch) -> CallScores:
        """Return those of a batch of scores."""
        mask = batch.negative_mask
        return cls(
            batch.negative_scores.shape[1],
            batch.catalogue,
            lambda: sample_of_scores(batch),
            None if mask is None else lambda: (~mask).sum(-1).max(),
        )


@torch.no_grad()
def sample_of_scores(batch: ScoredBatch) -> Tensor:
    """Return ``s_j − s₊`` of some rows and of negatives spread over all, (b, m), −∞ where ignored."""
    rows, columns = spread_over(*batch.negative_scores.shape)
    scores, mask = batch.negative_scores[rows, columns], batch.negative_mask
    ignored = scores < LOWEST_SCORE
    if mask is not None:
        ignored = ignored | (mask[columns] if mask.dim() == 1 else mask[rows, columns])
    return (scores - batch.positive_scores[rows].unsqueeze(1)).masked_fill(ignored, float("-inf"))


def spread_over(rows: int, columns: int) -> tuple[slice, slice]:
    """Return which rows and columns are looked at of so many, at least one: some, spread over all."""
    return slice(None, None, -(-rows // MOST_ROWS)), slice(None, None, -(-columns // MOST_COLUMNS))

"""PopularityNegatives: what is often used is often drawn."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_croloss.common.checks import check_counts
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives.base import Candidates
from lightning_croloss.negatives.counted import CountedNegatives


class PopularityNegatives(CountedNegatives):
    """Draw items with ``q_i ∝ (count_i + smoothing) ** exponent``, with replacement.

    Popular items are the hard negatives, so that fewer draws reach the top of the ranking; the loss corrects
    for q, and the soft rank stays that of the whole catalogue in the mean.

    Args:
        num_negatives: number of draws M.
        exponent: 0 is uniform, 1 proportional to the counts; word2vec takes 0.75.
        smoothing: added to each count. Without it an item that training never saw is never drawn, and no
            correction can make up for that.
        shared: one set of draws for the whole batch, or one for each row.
        exclude_known_positives: also ignore draws among the user's other training items.
    """

    def __init__(
        self,
        num_negatives: int = 2560,
        exponent: float = 0.75,
        smoothing: float = 1.0,
        shared: bool = True,
        exclude_known_positives: bool = False,
    ) -> None:
        super().__init__(exclude_known_positives)
        check_counts(num_negatives=num_negatives)
        if not 0.0 <= exponent < math.inf:
            raise ValueError(f"exponent must be a number of at least 0, got {exponent}")
        if not 0.0 < smoothing < math.inf:
            raise ValueError(f"smoothing must be a positive number, got {smoothing}")
        self.num_negatives = num_negatives
        self.exponent = exponent
        self.smoothing = smoothing
        self.shared = shared
        self._cumulative = torch.empty(0, dtype=torch.float64, device="cpu")

    def probabilities(self, item_counts: Tensor, target_counts: Tensor) -> Tensor:
        """Return (count + smoothing) ** exponent, normalised, from the number of events of each item."""
        counts = item_counts[1:].double() + self.smoothing
        weights = counts**self.exponent
        total = weights.sum()
        if not 0.0 < float(total) < math.inf:  # the power of the most frequent one is 1
            weights = (counts / counts.max()) ** self.exponent
            total = weights.sum()
        return weights / total

    def prepare(self, item_counts: Tensor, target_counts: Tensor) -> None:
        """Compute the probabilities and their sums from the counts of the training data."""
        super().prepare(item_counts, target_counts)
        # in float64: a sum over millions of items in float32 would lose the rare ones
        self._cumulative = self.probabilities(item_counts, target_counts).cumsum(0)

    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Draw (M,) ids, or (B, M) if not shared."""
        self._check_prepared()
        device = batch.history.device
        self._cumulative = self._cumulative.to(device)
        shape = (self.num_negatives,) if self.shared else (batch.batch_size, self.num_negatives)
        points = torch.rand(shape, dtype=torch.float64, device=device) * self._cumulative[-1]
        indices = torch.searchsorted(self._cumulative, points, right=True)
        ids = indices.clamp(max=self.num_items - 1) + 1
        return Candidates(ids, self.log_prob(ids), self.excluded(batch))

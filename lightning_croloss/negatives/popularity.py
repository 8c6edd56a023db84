"""PopularityNegatives: what is often used is often drawn."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives.base import Candidates, Negatives


class PopularityNegatives(Negatives):
    """Draw items with ``q_i ∝ (count_i + smoothing) ** exponent``, with replacement.

    Popular items are the hard negatives, so that fewer draws see the top of the ranking; the loss corrects
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
        if num_negatives < 1:
            raise ValueError(f"num_negatives must be at least 1, got {num_negatives}")
        if not 0.0 <= exponent < math.inf:
            raise ValueError(f"exponent must be a number of at least 0, got {exponent}")
        if not 0.0 < smoothing < math.inf:
            raise ValueError(f"smoothing must be a positive number, got {smoothing}")
        self.num_negatives = num_negatives
        self.exponent = exponent
        self.smoothing = smoothing
        self.shared = shared
        # not in checkpoints: they follow from the data, and a checkpoint loads with any sampler
        self.register_buffer("_log_prob", torch.empty(0), persistent=False)
        self.register_buffer("_cumulative", torch.empty(0, dtype=torch.float64), persistent=False)

    _log_prob: Tensor
    _cumulative: Tensor

    def prepare(self, item_counts: Tensor, target_counts: Tensor) -> None:
        """Compute the probabilities from the number of training events of each item."""
        weights = (item_counts[1:].double() + self.smoothing) ** self.exponent
        probabilities = weights / weights.sum()
        device = self._cumulative.device
        padding = torch.full((1,), -math.inf)
        self._log_prob = torch.cat([padding, probabilities.log().float()]).to(device)
        # in float64: a sum over millions of items in float32 would lose the rare ones
        self._cumulative = probabilities.cumsum(0).to(device)

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return log q of each id.

        Raises:
            RuntimeError: the sampler has not seen the training data.
        """
        self._check_prepared()
        return self._log_prob[ids]

    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Draw (M,) ids, or (B, M) if not shared."""
        self._check_prepared()
        shape = (self.num_negatives,) if self.shared else (batch.batch_size, self.num_negatives)
        points = torch.rand(shape, dtype=torch.float64, device=batch.history.device)
        places = torch.searchsorted(self._cumulative, points * self._cumulative[-1], right=True)
        ids = places.clamp(max=self.num_items - 1) + 1
        return Candidates(ids, self.log_prob(ids), self.excluded(batch))

    def _check_prepared(self) -> None:
        if self._cumulative.numel() != self.num_items:
            raise RuntimeError(
                "PopularityNegatives must see the training data first: train with a RetrievalDataModule, or "
                "call prepare(item_counts, target_counts)"
            )

"""UniformNegatives: every item equally often."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_croloss.common.checks import check_counts
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives.base import Candidates, Negatives


class UniformNegatives(Negatives):
    """Draw items uniformly, with replacement.

    The smallest rank that M draws can see in a catalogue of N items is N/M: choose ``num_negatives`` well
    above N/n for the Recall@n that matters.

    Args:
        num_negatives: number of draws M; the authors take 10 times the batch size.
        shared: one set of draws for the whole batch (one product of matrices), or one for each row.
        exclude_known_positives: also ignore draws among the user's other training items.
    """

    def __init__(
        self, num_negatives: int = 2560, shared: bool = True, exclude_known_positives: bool = False
    ) -> None:
        super().__init__(exclude_known_positives)
        check_counts(num_negatives=num_negatives)
        self.num_negatives = num_negatives
        self.shared = shared

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return −log N of each id, −∞ for padding."""
        return torch.where(self._checked_ids(ids) > 0, -math.log(self._known_num_items()), -math.inf)

    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Draw (M,) ids, or (B, M) if not shared."""
        shape = (self.num_negatives,) if self.shared else (batch.batch_size, self.num_negatives)
        ids = torch.randint(1, self._known_num_items() + 1, shape, device=batch.history.device)
        return Candidates(ids, excluded_ids=self.excluded(batch))

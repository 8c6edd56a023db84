"""FullCatalogNegatives: no sampling at all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.negatives.base import Candidates, Negatives, WholeCatalogue


class FullCatalogNegatives(Negatives):
    """Compare each positive with every item of the catalogue: M = N, and every rank can be seen.

    Args:
        exclude_known_positives: ignore the user's other training items.
    """

    uses_whole_catalogue = True

    def log_prob(self, ids: Tensor) -> Tensor:
        """Return −log N of each id, −∞ for padding: N draws see each item once."""
        return torch.where(self._checked_ids(ids) > 0, -math.log(self._known_num_items()), -math.inf)

    def sample(self, batch: RetrievalBatch) -> Candidates:
        """Return all ids, 1 … num_items."""
        return WholeCatalogue(
            self._known_num_items(), batch.history.device, excluded_ids=self.excluded(batch)
        )

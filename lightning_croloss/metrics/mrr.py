"""MRRAtN."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.metrics.base import RankMetric, widest_float


class MRRAtN(RankMetric):
    """MRR@N: 1 / rank of the user's best-ranked target if that is within N, else 0; mean over users."""

    metric_name = "mrr"

    def user_values(self, ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
        """Return (B, n): the reciprocal rank of the best target, 0 beyond the cutoff."""
        best = ranks.masked_fill(~real, torch.iinfo(ranks.dtype).max).amin(1, keepdim=True)
        return (best <= cutoffs) / best.to(widest_float(ranks.device))

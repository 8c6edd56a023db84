"""HitRateAtN."""

from __future__ import annotations

from torch import Tensor

from lightning_croloss.metrics.base import RankMetric, hits_within, widest_float


class HitRateAtN(RankMetric):
    """HitRate@N: the share of users with at least one target ranked within N."""

    metric_name = "hit_rate"

    def user_values(self, ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
        """Return (B, n): 1 where any target of the user is within the cutoff, else 0."""
        return hits_within(ranks, real, cutoffs).any(1).to(widest_float(ranks.device))

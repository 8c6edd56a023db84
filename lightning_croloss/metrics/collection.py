"""RankMetrics: every metric of an evaluation, from the same ranks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_croloss.metrics.base import RankMetric
from lightning_croloss.metrics.excluded_targets import ExcludedTargets
from lightning_croloss.metrics.hit_rate import HitRateAtN
from lightning_croloss.metrics.mrr import MRRAtN
from lightning_croloss.metrics.ndcg import NDCGAtN
from lightning_croloss.metrics.recall import RecallAtN


class RankMetrics(nn.Module):
    """Recall, HitRate, NDCG and MRR at several N, and how many targets no list can hold.

    Args:
        ns: the cutoffs N, distinct positive integers.
    """

    def __init__(self, ns: Sequence[int]) -> None:
        super().__init__()
        self.metrics = nn.ModuleList([RecallAtN(ns), HitRateAtN(ns), NDCGAtN(ns), MRRAtN(ns)])
        self.excluded = ExcludedTargets()

    def names(self) -> list[str]:
        """Return the keys of :meth:`compute`: ``recall@20`` and so on."""
        return [f"{metric.metric_name}@{n}" for metric in self._each() for n in metric.ns]

    def reset(self) -> None:
        """Forget all users."""
        self.excluded.reset()
        for metric in self._each():
            metric.reset()

    def update(self, ranks: Tensor, mask: Tensor) -> None:
        """Count a batch of users: ranks (B, T) of their targets, mask (B, T) True for a real one."""
        self.excluded.update(ranks.masked_fill(~mask, 0))
        for metric in self._each():
            metric.update(ranks, mask)

    def compute(self) -> dict[str, Tensor]:
        """Return the mean over the users of all processes, by name."""
        return {name: value for metric in self._each() for name, value in metric.compute().items()}

    def _each(self) -> list[RankMetric]:
        return [metric for metric in self.metrics if isinstance(metric, RankMetric)]

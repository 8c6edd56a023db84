"""RankMetrics: every metric of an evaluation, from the same ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_croloss.common.host_numbers import numbers_beside
from lightning_croloss.metrics.base import RankMetric
from lightning_croloss.metrics.excluded_targets import ExcludedTargets
from lightning_croloss.metrics.few_candidates import FewCandidates
from lightning_croloss.metrics.hit_rate import HitRateAtN
from lightning_croloss.metrics.mrr import MRRAtN
from lightning_croloss.metrics.ndcg import NDCGAtN
from lightning_croloss.metrics.recall import RecallAtN


class RankMetrics(nn.Module):
    """Recall, HitRate, NDCG and MRR at several N, and how many targets no list can hold.

    Args:
        ns: the cutoffs N, distinct positive integers.

    Attributes:
        ns: the cutoffs, ascending.
        excluded: counts the targets that no list can hold.
        few: counts the users to whom few items may be recommended; it is updated apart.
    """

    def __init__(self, ns: Sequence[int]) -> None:
        super().__init__()
        self.metrics = nn.ModuleList([RecallAtN(ns), HitRateAtN(ns), NDCGAtN(ns), MRRAtN(ns)])
        self.ns = self._each()[0].ns
        self.excluded = ExcludedTargets()
        self.few = FewCandidates(self.ns)

    def names(self) -> list[str]:
        """Return the keys of :meth:`compute`: ``recall@20`` and so on."""
        return [f"{metric.metric_name}@{n}" for metric in self._each() for n in metric.ns]

    def reset(self) -> None:
        """Forget all users."""
        self.excluded.reset()
        self.few.reset()
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

    def user_values(self, ranks: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the value of each user, (B,), under the names of :meth:`compute`; of one without targets 0.

        Args:
            ranks: (B, T) ranks of the users' targets.
            mask: (B, T) bool, True for a real target.
        """
        cutoffs, real = numbers_beside(self.ns, ranks, torch.long), mask & (ranks > 0)
        found: dict[str, Tensor] = {}
        for metric in self._each():
            values = metric.user_values(ranks, real, cutoffs) * real.any(1, keepdim=True)
            found |= {f"{metric.metric_name}@{n}": values[:, at] for at, n in enumerate(metric.ns)}
        return found

    def _each(self) -> list[RankMetric]:
        return [metric for metric in self.metrics if isinstance(metric, RankMetric)]

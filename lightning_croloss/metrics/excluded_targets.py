"""ExcludedTargets: how many targets no list can hold."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_croloss.retrieval.ranks import UNREACHABLE


class ExcludedTargets(Metric):
    """Counts the targets, and those that are excluded, for example since their user had them before.

    Attributes:
        targets: () int64, the number of targets.
        excluded: () int64, the number of those that :func:`lightning_croloss.retrieval.target_ranks` ranks
            above ``UNREACHABLE``.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    targets: Tensor
    excluded: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("targets", "excluded"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, ranks: Tensor) -> None:
        """Count the targets of a batch by their ranks (B, T), 0 = no target."""
        # not in place: see RankMetric.update
        self.targets = self.targets + (ranks > 0).sum()
        self.excluded = self.excluded + (ranks > UNREACHABLE).sum()

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the numbers of excluded targets and of targets, scalars."""
        return self.excluded, self.targets

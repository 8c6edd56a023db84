"""OneCutoff: a metric of ranks at a single N, as a tensor."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.wrappers.abstract import WrapperMetric


class OneCutoff(WrapperMetric):
    """The value of a ``RankMetric`` of one cutoff as a scalar tensor, which ``self.log`` takes.

    Made by ``RankMetric.at``. In a ``MetricCollection`` name each by a dictionary.

    Example:
        >>> import torch
        >>> from lightning_croloss import RecallAtN
        >>> recall = RecallAtN.at(10)
        >>> recall.update(torch.tensor([[1, 7, 30], [2, 0, 0]]))
        >>> round(recall.compute().item(), 4)
        0.8333

    Args:
        ranked: a ``RankMetric`` of a single cutoff.

    Attributes:
        ranked: the metric.

    Raises:
        ValueError: if the metric has several cutoffs.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, ranked: Metric) -> None:
        super().__init__()
        ns: tuple[int, ...] = getattr(ranked, "ns", ())
        if len(ns) != 1:
            raise ValueError(f"the metric must have one cutoff, got {list(ns)}: give it a single n")
        self.ranked = ranked

    def update(self, ranks: Tensor, mask: Tensor | None = None) -> None:
        """Count a batch of users; see ``RankMetric.update``."""
        self.ranked.update(ranks, mask)

    def compute(self) -> Tensor:
        """Return the mean over users, a scalar."""
        value: Tensor
        (value,) = self.ranked.compute().values()
        return value

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Count a batch of users and return the mean over these."""
        value: Tensor
        (value,) = self.ranked(*args, **kwargs).values()
        self._forward_cache = value  # type: ignore[assignment]
        self._update_count += 1
        self._computed = None
        return value

    def reset(self) -> None:
        """Forget all users."""
        super().reset()
        self.ranked.reset()

    def persistent(self, mode: bool = False) -> None:
        """Say whether ``state_dict`` holds the sums, which are the metric's."""
        super().persistent(mode)
        self.ranked.persistent(mode)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the users that another such metric has counted; see ``RankMetric.merge_state``."""
        other = incoming_state.ranked if isinstance(incoming_state, OneCutoff) else incoming_state
        self.ranked.merge_state(other)

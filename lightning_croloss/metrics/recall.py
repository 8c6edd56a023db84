"""RecallAtN."""

from __future__ import annotations

from torch import Tensor

from lightning_croloss.metrics.base import RankMetric, hits_within, widest_float


class RecallAtN(RankMetric):
    """Recall@N: the user's targets ranked within N / the number of the user's targets; mean over users.

    Example:
        >>> import torch
        >>> metric = RecallAtN(ns=(1, 10))
        >>> metric.update(torch.tensor([[1, 7, 30], [2, 0, 0]]))  # three targets, one target
        >>> {name: round(value.item(), 4) for name, value in metric.compute().items()}
        {'recall@1': 0.1667, 'recall@10': 0.8333}
    """

    metric_name = "recall"

    def user_values(self, ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
        """Return (B, n): the share of the user's targets within each cutoff."""
        hits = hits_within(ranks, real, cutoffs).sum(1).to(widest_float(ranks.device))
        return hits / real.sum(1, keepdim=True).clamp(min=1)

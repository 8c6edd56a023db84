"""NDCGAtN."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.metrics.base import RankMetric, hits_within, widest_float


class NDCGAtN(RankMetric):
    """NDCG@N: DCG of the targets ranked within N / DCG of the best order possible; mean over users.

    A target of rank r gains ``1 / log2(r + 1)``. The best order has the user's targets at the ranks
    1 … min(N, number of targets).
    """

    metric_name = "ndcg"

    def user_values(self, ranks: Tensor, real: Tensor, cutoffs: Tensor) -> Tensor:
        """Return (B, n): the discounted gain within each cutoff, as a share of the ideal one."""
        dtype = widest_float(ranks.device)
        # the rank of padding may be anything: 1 keeps its gain finite until hits_within drops it
        gains = 1 / torch.log2(ranks.masked_fill(~real, 1).to(dtype) + 1)
        dcg = (gains.unsqueeze(-1) * hits_within(ranks, real, cutoffs)).sum(1)

        positions = torch.arange(1, ranks.shape[1] + 1, device=ranks.device, dtype=dtype)
        ideal_dcg = (1 / torch.log2(positions + 1)).cumsum(0)
        filled = torch.minimum(real.sum(1, keepdim=True), cutoffs).clamp(min=1)
        return dcg / ideal_dcg[filled - 1]

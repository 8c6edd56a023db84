"""FinishedRows: what the complete sums of rows come to, whoever has swept over the candidates."""

from __future__ import annotations

import torch

from lightning_croloss.losses.fused.plan import LossPlan
from lightning_croloss.losses.fused.sums import Sums


class FinishedRows:
    """Losses of rows, and what their gradients need beyond φ′.

    Args:
        plan: what to go by.

    Attributes:
        log_ranks: (B,) log R of the rows that are finished.
        losses: (B,) the loss of each of them times its weight.
    """

    def __init__(self, plan: LossPlan) -> None:
        self.plan = plan
        self.log_ranks = torch.empty_like(plan.row_weight)
        self.losses = torch.empty_like(plan.row_weight)
        self._coefficient = torch.empty_like(plan.row_weight)
        self._log_scale = torch.empty_like(plan.row_weight) if plan.form.kernel.sums_logarithms else None

    def _finish(self, rows: slice, sums: Sums, other_sums: Sums | None) -> None:
        """Set losses, log R and coefficients of rows whose sums are complete.

        Args:
            rows: the rows.
            sums: of the kernel.
            other_sums: of that of the Lambda method, if it has one of its own.
        """
        plan, weight = self.plan, self.plan.row_weight[rows]
        losses, log_ranks, slope = plan.form.finish(sums, other_sums, plan.draws.num_items, rows)
        torch.mul(losses, weight, out=self.losses[rows])
        coefficient = torch.mul(slope, weight, out=self._coefficient[rows])
        if plan.scale != 1.0:
            coefficient.div_(plan.scale)
        self.log_ranks[rows] = log_ranks
        if self._log_scale is not None:
            self._log_scale[rows] = sums.log_scale

"""Computation: loss and gradients of a whole batch, block of rows by block of rows."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.sweep import Sweep


class Computation:
    """Loss and gradients of one batch.

    Args:
        plan: what to go by.

    Attributes:
        log_ranks: (B,) log R, once :meth:`run` has returned.
        losses: (B,) the loss of each row times its weight, likewise.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.log_ranks = torch.empty_like(plan.row_weight)
        self.losses = torch.empty_like(plan.row_weight)

    @torch.no_grad()
    def run(
        self, users: Tensor, positives: Tensor, candidates: Tensor, needs: tuple[bool, ...]
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Return the loss and the gradients of those inputs that need one."""
        plan = self.plan
        dtype, rows, columns = plan.dtype, plan.tiling.rows, candidates.shape[0]
        product_dtype = plan.tiling.product_dtype or dtype
        with no_autocast(users.device):
            users, positives = users.to(dtype), positives.to(dtype)
            scores = (users * positives).sum(-1, keepdim=True) / plan.scale
            factors = (users.to(product_dtype), candidates.to(product_dtype))
            needs_rows, needs_candidates = needs[0] or needs[1], needs[2]
            losses = torch.empty_like(plan.row_weight)
            pulls = torch.empty_like(scores) if needs_rows else None
            user_grad = torch.zeros_like(users) if needs[0] else None
            candidate_grad = torch.zeros_like(candidates, dtype=dtype) if needs_candidates else None
            keep = torch.empty(
                min(rows, users.shape[0])
                * (columns if needs_candidates else min(plan.tiling.width, columns)),
                dtype=dtype,
                device=users.device,
            )
            for number, first in enumerate(range(0, users.shape[0], rows)):
                block = slice(first, min(first + rows, users.shape[0]))
                sweep = Sweep(plan, number, block, factors, scores[block], keep, any(needs), needs[0])
                coefficient = self._finish(block, sweep, losses)
                if pulls is not None:
                    pulls[block] = -(coefficient * sweep.slope_sum).unsqueeze(1)
                if user_grad is not None:
                    user_grad[block] = sweep.product * coefficient.unsqueeze(1)
                if candidate_grad is not None:
                    sweep.add_candidate_gradient(coefficient, candidate_grad)
            positive_grad = pulls * users if pulls is not None and needs[1] else None
            if user_grad is not None and pulls is not None:
                user_grad.addcmul_(pulls, positives)
            self.losses = losses * plan.row_weight
            return self.losses.sum(), (user_grad, positive_grad, candidate_grad)

    def _finish(self, block: slice, sweep: Sweep, losses: Tensor) -> Tensor:
        """Set the block's losses and log R; return what the sweep's slopes are to be multiplied by, (b,)."""
        plan = self.plan
        losses[block], self.log_ranks[block], slope = plan.form.finish(
            sweep.sums, sweep.other_sums, plan.draws.num_items, block
        )
        return slope * plan.row_weight[block] / plan.scale

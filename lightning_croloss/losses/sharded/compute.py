"""ShardedComputation: loss and gradients over shards, block of rows by block of rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.sums import Sums
from lightning_croloss.losses.fused.sweep import Sweep
from lightning_croloss.sharding.messages import gathered_rows, returned_rows

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


class ShardedComputation:
    """Loss and gradients of the rows of all processes, of which each sweeps over its own items.

    Args:
        plan: what to go by, for the R rows of all processes; its blocks must be the same on all.
        counts: number of rows of each process.
        own: which of the rows are of this process.

    Attributes:
        log_ranks: (R,) log R of all rows, once :meth:`run` has returned; so are the losses.
        losses: (R,) the loss of each row times its weight.
    """

    def __init__(self, plan: Plan, counts: list[int], own: slice) -> None:
        self.plan, self.counts, self.own = plan, counts, own
        self.log_ranks = torch.empty_like(plan.row_weight)
        self.losses = torch.empty_like(plan.row_weight)

    @torch.no_grad()
    def run(self, users: Tensor, positives: Tensor, candidates: Tensor, needs: Sequence[bool]) -> Gradients:
        """Compute the losses; return the gradients of their sum, if ``needs`` any.

        Args:
            users: (b, D) of this process.
            positives: (b, D) of this process.
            candidates: (m, D) items of this process, at least one.
            needs: whether each of these needs a gradient. That any does is so on all processes or on none.
        """
        plan = self.plan
        dtype, rows = plan.dtype, plan.tiling.rows
        product_dtype = plan.tiling.product_dtype or dtype
        with no_autocast(users.device):
            own_users, own_positives = users.to(dtype), positives.to(dtype)
            own_scores = (own_users * own_positives).sum(-1, keepdim=True) / plan.scale
            scores = gathered_rows(own_scores, self.counts)
            factors = (gathered_rows(users.to(product_dtype), self.counts), candidates.to(product_dtype))
            number, width = factors[0].shape
            partial = torch.empty(number, width + 1, dtype=dtype, device=users.device)
            candidate_grad = torch.zeros_like(candidates, dtype=dtype) if needs[2] else None
            columns = len(candidates) if needs[2] else min(plan.tiling.width, len(candidates))
            keep = torch.empty(min(rows, number) * columns, dtype=dtype, device=users.device)
            for block_number, first in enumerate(range(0, number, rows)):
                block = slice(first, min(first + rows, number))
                sweep = Sweep(plan, block_number, block, factors, scores[block], keep, any(needs), any(needs))
                coefficient = self._finish(block, sweep)
                if not any(needs):
                    continue
                partial[block, :width] = sweep.product * coefficient.unsqueeze(1)
                partial[block, width] = -coefficient * sweep.slope_sum
                if candidate_grad is not None:
                    sweep.add_candidate_gradient(coefficient, candidate_grad)
            if not any(needs):
                return None, None, None
            own = returned_rows(partial, self.counts)
            pulls = own[:, width:]
            user_grad = own[:, :width].addcmul(pulls, own_positives) if needs[0] else None
            return user_grad, pulls * own_users if needs[1] else None, candidate_grad

    def _finish(self, block: slice, sweep: Sweep) -> Tensor:
        """Set the block's losses and log R; return what the sweep's slopes are to be multiplied by, (b,)."""
        plan = self.plan
        several = [sweep.sums] if sweep.other_sums is None else [sweep.sums, sweep.other_sums]
        total, *other = over_processes(several)
        losses, self.log_ranks[block], slope = plan.form.finish(
            total, other[0] if other else None, plan.draws.num_items, block
        )
        self.losses[block] = losses * plan.row_weight[block]
        coefficient = slope * plan.row_weight[block] / plan.scale
        if sweep.sums.logarithms:  # its slopes are relative to its own sum, not to that of all
            coefficient = coefficient * torch.exp(sweep.sums.log_scale - total.log_scale)
        return coefficient


def over_processes(several: list[Sums]) -> list[Sums]:
    """Return sums (b,) added up over the processes, by logarithms where they are such."""
    totals = [Sums(sums.total, sums.logarithms) for sums in several]
    if any(sums.logarithms for sums in several):
        largest = torch.stack([sums.log_scale for sums in several])
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        for entry, total in zip(largest, totals, strict=True):
            total.log_scale = entry
    parts = torch.stack(
        [
            torch.exp(sums.log_scale - total.log_scale) if sums.logarithms else sums.total
            for sums, total in zip(several, totals, strict=True)
        ]
    )
    distributed.all_reduce(parts)
    for part, total in zip(parts, totals, strict=True):
        total.empty = False
        if total.logarithms:
            total.log_scale = total.log_scale + part.log()
        else:
            total.total = part
    return totals

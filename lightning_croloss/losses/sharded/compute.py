"""ShardedComputation: loss and gradients over shards, block of rows by block of rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.fused.finished_rows import FinishedRows
from lightning_croloss.losses.fused.gradients import Gradients
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.sums import Sums
from lightning_croloss.losses.fused.two_sweeps import TwoSweeps
from lightning_croloss.sharding.messages import gathered_rows, returned_rows


class ShardedComputation(FinishedRows):
    """Loss and gradients of the rows of all processes, of which each sweeps over its own items, twice.

    Args:
        plan: what to go by, for the R rows of all processes; its blocks must be the same on all.
        counts: number of rows of each process.
        own: which of the rows are of this process.
        share: what the candidates' gradient is multiplied by.

    Attributes:
        log_ranks: (R,) log R of all rows, once :meth:`rank` has returned; so are the losses.
        losses: (R,) the loss of each row times its weight.
    """

    plan: Plan

    def __init__(self, plan: Plan, counts: list[int], own: slice, share: float) -> None:
        super().__init__(plan)
        self.counts, self.own, self.share = counts, own, share

    @torch.no_grad()
    def rank(self, users: Tensor, positives: Tensor, candidates: Tensor, weighs: bool) -> None:
        """Compute the losses, and no gradient yet.

        Args:
            users: (b, D) of this process.
            positives: (b, D) of this process.
            candidates: (m, D) items of this process, at least one.
            weighs: whether :meth:`gradients` will be asked for, by all processes.
        """
        with no_autocast(users.device):
            sweeps = self._sweeps(users, positives, candidates).sums(weighs)
            for rows, sweep in sweeps:
                several = [sweep.sums] if sweep.other_sums is None else [sweep.sums, sweep.other_sums]
                total, *other = over_processes(several)
                self._finish(rows, total, other[0] if other else None)

    @torch.no_grad()
    def gradients(
        self, users: Tensor, positives: Tensor, candidates: Tensor, row_grad: Tensor, needs: Sequence[bool]
    ) -> Gradients:
        """Compute the gradients by a second sweep after :meth:`rank`; all processes call it.

        Args:
            users: as before, likewise the others.
            positives: (b, D).
            candidates: (m, D).
            row_grad: (R,) gradient of each of the losses.
            needs: whether each of the inputs needs one.
        """
        dtype = self.plan.dtype
        with no_autocast(users.device):
            candidate_grad = self.plan.spare_memory.take(candidates) if needs[2] else None
            product, slope_sum = self._sweeps(users, positives, candidates).gradients(
                self._coefficient * row_grad, self._log_scale, True, candidate_grad, self.share
            )
            own = returned_rows(torch.cat([product, slope_sum], dim=1), self.counts)
            own_product, own_sum = own[:, :-1], own[:, -1:]
            user_grad = own_product.addcmul(own_sum, positives.to(dtype), value=-1.0) if needs[0] else None
            return user_grad, -own_sum * users.to(dtype) if needs[1] else None, candidate_grad

    def _sweeps(self, users: Tensor, positives: Tensor, candidates: Tensor) -> TwoSweeps:
        """Return the sweeps of the rows of all processes over the items of this one."""
        plan = self.plan
        scores = (users.to(plan.dtype) * positives.to(plan.dtype)).sum(-1, keepdim=True) / plan.scale
        factor = users.to(plan.tiling.product_dtype or plan.dtype)
        return TwoSweeps(
            plan, gathered_rows(factor, self.counts), gathered_rows(scores, self.counts), candidates
        )


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

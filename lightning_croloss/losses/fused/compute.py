"""Computation: loss and gradients of a whole batch, in one sweep over the candidates or in two."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.fused.block import blocks_of
from lightning_croloss.losses.fused.finished_rows import FinishedRows
from lightning_croloss.losses.fused.gradients import Gradients, gradients_of_rows
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.sweep import Sweep
from lightning_croloss.losses.fused.tiles import Tiles
from lightning_croloss.losses.fused.two_sweeps import TwoSweeps


class Computation(FinishedRows):
    """Loss and gradients of one batch.

    Args:
        plan: what to go by.

    Attributes:
        log_ranks: (B,) log R, once :meth:`run` or :meth:`rank` has returned.
        losses: (B,) the loss of each row times its weight, likewise.
    """

    plan: Plan

    @torch.no_grad()
    def run(self, users: Tensor, positives: Tensor, candidates: Tensor, needs: Sequence[bool]) -> Gradients:
        """Compute the losses and, of their sum, the gradients of those inputs that need one.

        The φ′ of a block of rows is kept until the coefficients of its rows are known.
        """
        plan = self.plan
        with no_autocast(users.device):
            users, positives, scores, factor = self._prepared(users, positives)
            blocks, columns = blocks_of(plan, factor, scores), len(candidates)
            # where φ′ of a block is kept, the vectors may be that are fewer numbers
            tiles = Tiles(candidates, plan, keeps=candidates.shape[1] <= len(blocks[0]))
            slope_sum = torch.empty_like(scores)
            user_grad = torch.empty_like(users) if needs[0] else None
            candidate_grad = torch.empty_like(candidates, dtype=plan.dtype) if needs[2] else None
            keeps = needs[2] and factor.dtype == plan.dtype
            kept = columns if keeps else min(plan.tiling.width, columns)
            keep = torch.empty(max(map(len, blocks)) * kept, dtype=plan.dtype, device=users.device)
            for block in blocks:
                sweep = Sweep(plan, block, any(needs), any(needs), needs[0])
                for tile in tiles:
                    sweep.add(tile, keep[len(block) * tile.columns.start :] if keeps else keep)
                self._finish(block.rows, sweep.sums, sweep.other_sums)
                weight = self._coefficient[block.rows].unsqueeze(1)
                if sweep.slope_sum is not None:
                    torch.mul(sweep.slope_sum.unsqueeze(1), weight, out=slope_sum[block.rows])
                if user_grad is not None and sweep.product is not None:
                    torch.mul(sweep.product, weight, out=user_grad[block.rows])
                if candidate_grad is not None:
                    first, last = block is blocks[0], block is blocks[-1]
                    sweep.put_candidate_gradient(weight.squeeze(1), tiles, candidate_grad, first, last)
            return *gradients_of_rows(users, positives, user_grad, slope_sum, needs), candidate_grad

    @torch.no_grad()
    def rank(self, users: Tensor, positives: Tensor, candidates: Tensor, needs: Sequence[bool]) -> None:
        """Compute the losses, and no gradient yet.

        Args:
            users: (B, D).
            positives: (B, D).
            candidates: (M, D).
            needs: whether :meth:`gradients` will be asked for that of each input.
        """
        with no_autocast(users.device):
            _, _, scores, factor = self._prepared(users, positives)
            for rows, sweep in TwoSweeps(self.plan, factor, scores, candidates).sums(any(needs)):
                self._finish(rows, sweep.sums, sweep.other_sums)

    @torch.no_grad()
    def gradients(
        self, users: Tensor, positives: Tensor, candidates: Tensor, row_grad: Tensor, needs: Sequence[bool]
    ) -> Gradients:
        """Compute the gradients of those inputs that need one, by a second sweep after :meth:`rank`.

        Args:
            users: as before, likewise the others.
            positives: (B, D).
            candidates: (M, D).
            row_grad: (B,) gradient of each of the losses.
            needs: whether each input needs one.
        """
        plan = self.plan
        with no_autocast(users.device):
            users, positives, scores, factor = self._prepared(users, positives)
            candidate_grad = plan.spare_memory.take(candidates) if needs[2] else None
            user_grad, slope_sum = TwoSweeps(plan, factor, scores, candidates).gradients(
                self._coefficient * row_grad, self._log_scale, needs[0], candidate_grad
            )
            return *gradients_of_rows(users, positives, user_grad, slope_sum, needs), candidate_grad

    def _prepared(self, users: Tensor, positives: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return both in the type of the ranks, the scores (B, 1), and users in the type of the products."""
        plan = self.plan
        users, positives = users.to(plan.dtype), positives.to(plan.dtype)
        scores = (users * positives).sum(-1, keepdim=True)
        scores = scores if plan.scale == 1.0 else scores / plan.scale
        return users, positives, scores, users.to(plan.tiling.product_dtype or plan.dtype)

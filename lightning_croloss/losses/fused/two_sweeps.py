"""TwoSweeps: the sums in one sweep over all tiles, the gradients in a second one that computes φ again.

It keeps nothing of the score matrix between the two, reads the candidates twice and writes their gradient
once. That is one product more than one sweep takes, and pays where the φ′ of a block of rows would fill
memory; and it is the way where the coefficients are known late, as in a backward pass.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.exponential import exp_
from lightning_croloss.losses.fused.block import Block, blocks_of
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.sweep import Sweep
from lightning_croloss.losses.fused.tiles import Tile, Tiles


class TwoSweeps:
    """All rows of a batch over all tiles.

    Args:
        plan: what to go by.
        users: (B, D), in the type of the products.
        positive_scores: (B, 1) scores of the positives, divided by the plan's scale.
        candidates: (M, D), at least one.
    """

    def __init__(self, plan: Plan, users: Tensor, positive_scores: Tensor, candidates: Tensor) -> None:
        self._plan = plan
        self._blocks = blocks_of(plan, users, positive_scores)
        self._tiles = Tiles(candidates, plan)
        size = max(map(len, self._blocks)) * min(plan.tiling.width, len(candidates))
        self._memory = torch.empty(size, dtype=plan.dtype, device=users.device)

    def sums(self, weighs: bool) -> list[tuple[slice, Sweep]]:
        """Return rows and sums of each block.

        Args:
            weighs: whether those by the kernel of the Lambda method are needed.
        """
        sweeps = [Sweep(self._plan, block, weighs) for block in self._blocks]
        for tile in self._tiles:
            for sweep in sweeps:
                sweep.add(tile, self._memory)
        return [(block.rows, sweep) for block, sweep in zip(self._blocks, sweeps, strict=True)]

    def gradients(
        self,
        coefficient: Tensor,
        log_scale: Tensor | None,
        needs_product: bool,
        candidate_grad: Tensor | None,
        share: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Compute what the coefficients make of the slopes.

        Args:
            coefficient: (B,) what the φ′ of each row is multiplied by, relative to its scale.
            log_scale: (B,) that scale, of a kernel that is summed by logarithms.
            needs_product: whether the first of what is returned is needed.
            candidate_grad: (M, D) to be filled with the candidates' gradient; None = not needed.
            share: what the latter is multiplied by.

        Returns:
            (B, D) the sum of the coefficient times φ′ times the vectors of the candidates, and (B, 1) the sum
            of the coefficient times φ′.
        """
        users = [block.users for block in self._blocks]
        product = torch.zeros(
            len(coefficient), users[0].shape[1], dtype=self._plan.dtype, device=users[0].device
        )
        slope_sum = torch.zeros_like(coefficient)
        weighted = [block.weighted(coefficient[block.rows] * share) for block in self._blocks]
        for tile in self._tiles:
            part = None
            for block, weighted_users in zip(self._blocks, weighted, strict=True):
                slope = self._slope(block, tile, None if log_scale is None else log_scale[block.rows])
                slope_sum[block.rows] += slope.sum(1)
                factor = block.as_factor(slope)
                if needs_product:
                    product[block.rows] += block.times_vectors(factor, tile)
                if candidate_grad is not None:
                    of_block = block.times_users(factor, weighted_users)
                    part = of_block if part is None else part.add_(of_block)
            if part is not None and candidate_grad is not None:
                self._tiles.put_gradient(tile, part, candidate_grad, first=True, last=True)
        weight = coefficient.unsqueeze(1)
        return product.mul_(weight), slope_sum.unsqueeze(1).mul_(weight)

    def _slope(self, block: Block, tile: Tile, log_scale: Tensor | None) -> Tensor:
        """Return u φ′ (b, w), relative to the scale where there is one."""
        kernel, temperature = self._plan.form.kernel, self._plan.form.temperature
        x, log_weight = block.scores(tile), block.log_weight(tile)
        out = self._memory[: x.numel()].view_as(x)
        if log_scale is None:
            kernel.value_(x, out, temperature)
            kernel.slope_(x, out, temperature)
            return out if log_weight is None else out.mul_(log_weight.exp())
        terms = kernel.log_value_(x, out, temperature)
        if log_weight is not None:
            terms = torch.add(terms, log_weight, out=out)
        exp_(torch.sub(terms, log_scale.unsqueeze(1), out=out))
        kernel.slope_(x, out, temperature)
        return out

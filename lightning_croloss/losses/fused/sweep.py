"""Sweep: one block of rows, swept over all tiles of candidates."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.losses.fused.block import Block
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.sums import Rescaled, Sums, add_tile
from lightning_croloss.losses.fused.tiles import Tile, Tiles


class Sweep:
    """What adds up over the tiles for a block of rows: Σ u φ, Σ u φ′, the product of φ′ with the candidates.

    For kernels that are summed by logarithms everything is relative to ``exp(sums.log_scale)``, and the φ′ of
    a tile to that tile's own scale.

    Args:
        plan: what to go by.
        block: the rows.
        weighs: whether the sums by the kernel of the Lambda method are needed, for the coefficients.
        needs_slope: whether any gradient is needed.
        needs_product: whether the users' gradient is needed.

    Attributes:
        sums: Σ u φ of each row.
        other_sums: the same by the kernel of the Lambda method; None = not needed.
        slope_sum: (b,) Σ u φ′; None = nothing yet, or not needed.
        product: (b, D) Σ_j u_j φ′(d_j) times candidate j; likewise.
    """

    def __init__(
        self, plan: Plan, block: Block, weighs: bool, needs_slope: bool = False, needs_product: bool = False
    ) -> None:
        form = plan.form
        self._plan, self._block = plan, block
        self._needs_slope, self._needs_product = needs_slope, needs_product
        like = block.positive_scores.squeeze(1)
        self.sums = Sums(like, form.kernel.sums_logarithms)
        self._other = form.lambda_kernel if weighs else None
        self.other_sums = None if self._other is None else Sums(like, self._other.sums_logarithms)
        self.slope_sum: Tensor | None = None
        self.product: Tensor | None = None
        # such values may take the place of the differences, which nothing needs then
        self._in_place = form.kernel.is_own_slope and form.kernel.sums_logarithms
        self._kept: list[tuple[int, Tensor, Tensor | None]] = []

    def add(self, tile: Tile, memory: Tensor) -> None:
        """Add a tile.

        Args:
            tile: the tile.
            memory: at least b · w numbers, which hold its φ′ from now on if any gradient is needed; unless
                φ is its own slope, or the type of the products is another.
        """
        form, block = self._plan.form, self._block
        x, log_weight = block.scores(tile), block.log_weight(tile)
        if self.other_sums is not None and self._other is not None:
            ratio = self._plan.scale / self._other.width(form.temperature)
            scratch = torch.empty_like(x)
            add_tile(self.other_sums, self._other, x * ratio, form.temperature, log_weight, scratch)
        out = x if self._in_place else memory[: x.numel()].view_as(x)
        rescaled = add_tile(self.sums, form.kernel, x, form.temperature, log_weight, out)
        if not self._needs_slope:
            return
        form.kernel.slope_(x, out, form.temperature)
        if log_weight is not None and rescaled is None:
            out.mul_(log_weight.exp())
        total = rescaled.total if rescaled is not None and self._in_place else out.sum(1)
        self.slope_sum = _added(self.slope_sum, total, rescaled)
        factor = block.as_factor(out)
        if self._needs_product:
            self.product = _added(self.product, block.times_vectors(factor, tile), rescaled)
        self._kept.append((tile.number, factor, None if rescaled is None else rescaled.tile))

    def put_candidate_gradient(
        self, coefficient: Tensor, tiles: Tiles, gradient: Tensor, first: bool, last: bool
    ) -> None:
        """Put the block's part into the candidates' gradient (M, D), see ``Tiles.put_gradient``."""
        weighted = None
        for number, factor, scale in self._kept:
            if scale is not None:
                weighted = self._block.weighted(coefficient * torch.exp(scale - self.sums.log_scale))
            elif weighted is None:
                weighted = self._block.weighted(coefficient)
            part = self._block.times_users(factor, weighted)
            tiles.put_gradient(tiles[number], part, gradient, first, last)


def _added(before: Tensor | None, part: Tensor, rescaled: Rescaled | None) -> Tensor:
    """Return what was summed before, if anything, and a part, both brought to the new common scale.

    Args:
        before: (b,) or (b, D), which may change; None before the first tile.
        part: of the same shape, which may change.
        rescaled: their scales; None = all are the same.
    """
    if rescaled is not None:
        part.mul_(rescaled.now if part.dim() == 1 else rescaled.now.unsqueeze(1))
        if before is not None:
            before.mul_(rescaled.before if part.dim() == 1 else rescaled.before.unsqueeze(1))
    return part if before is None else before.add_(part)

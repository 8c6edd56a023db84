"""Block: some rows of a batch, and the three products of theirs with a tile."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.products import fast_product
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.tiles import Tile
from lightning_croloss.losses.kernels import FAR_BELOW


class Block:
    """A block of rows.

    Args:
        plan: what to go by.
        number: number of the block.
        rows: its rows.
        users: (B, D) of all rows, in the type of the products.
        positive_scores: (B, 1) scores of the positives, divided by the plan's scale.

    Attributes:
        rows: its rows.
        users: (b, D).
        positive_scores: (b, 1).
    """

    def __init__(self, plan: Plan, number: int, rows: slice, users: Tensor, positive_scores: Tensor) -> None:
        self._plan, self._number, self.rows = plan, number, rows
        self.users, self.positive_scores = users[rows], positive_scores[rows]
        # float16 may hold a score that it does not hold divided by the scale
        self._scales_users = self.users.dtype != torch.float16
        unscaled = plan.scale == 1.0 or not self._scales_users
        self._scaled = self.users if unscaled else self.users / plan.scale
        same = self.users.dtype == plan.dtype
        self._fast = fast_product(self.users, self.users.shape[0]) if same else None

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.users.shape[0]

    def scores(self, tile: Tile) -> Tensor:
        """Return (b, w): what each candidate scores above its row's positive, in units of the scale.

        Ignored pairs are far below.
        """
        plan = self._plan
        if self._fast is not None:
            x = self._fast(self._scaled, tile.vectors)
        else:
            x = torch.mm(self._scaled, tile.vectors.T)
        if x.dtype == plan.dtype:
            x.sub_(self.positive_scores)
        elif self._scales_users:
            x = torch.sub(x, self.positive_scores)  # in the wider of both types
        else:
            x = x.to(plan.dtype).div_(plan.scale).sub_(self.positive_scores)
        if plan.hits is not None:
            plan.hits.ignore(x, self._number, tile.number, FAR_BELOW)
        return x

    def log_weight(self, tile: Tile) -> Tensor | None:
        """Return log u of the tile's draws, (w,) or (b, w); None = 0."""
        log_weight = self._plan.draws.log_weight
        if log_weight is None:
            return None
        return log_weight[tile.columns] if log_weight.dim() == 1 else log_weight[self.rows, tile.columns]

    def as_factor(self, slope: Tensor) -> Tensor:
        """Return slopes (b, w) in the type of the products."""
        return slope.to(self.users.dtype)

    def times_vectors(self, factor: Tensor, tile: Tile) -> Tensor:
        """Return the product (b, D) of slopes (b, w), see :meth:`as_factor`, with the tile's vectors."""
        if self._fast is not None:
            return self._fast(factor, tile.vectors.T)
        return torch.mm(factor, tile.vectors).to(self._plan.dtype)

    def weighted(self, weight: Tensor) -> Tensor:
        """Return (D, b): the users, each multiplied by its weight (b,), for :meth:`times_users`."""
        return (self.users * weight.unsqueeze(1)).to(self.users.dtype).T.contiguous()

    def times_users(self, factor: Tensor, weighted: Tensor) -> Tensor:
        """Return the product (w, D) of slopes (b, w), see :meth:`as_factor`, with weighted users."""
        if self._fast is not None:
            return self._fast(weighted, factor.T).T  # faster than its transpose
        return torch.mm(factor.T, weighted.T).to(self._plan.dtype)


def blocks_of(plan: Plan, users: Tensor, positive_scores: Tensor) -> list[Block]:
    """Return all rows in blocks."""
    step, number = plan.tiling.rows, len(users)
    return [
        Block(plan, index, slice(first, min(first + step, number)), users, positive_scores)
        for index, first in enumerate(range(0, number, step))
    ]

"""Tiles: the candidates, some at a time, brought to unit length on the way where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_croloss.common.unit_length import least_length
from lightning_croloss.losses.fused.plan import Plan


class Tile(NamedTuple):
    """Some candidates.

    Attributes:
        number: number of the tile.
        columns: which of the candidates these are.
        vectors: (w, D) that are compared, in the type of the products.
        lengths: (w, 1) by which the candidates were divided; None = they are compared as they are.
    """

    number: int
    columns: slice
    vectors: Tensor
    lengths: Tensor | None


class Tiles:
    """Candidates tile by tile, in the type of the products and of unit length if asked for.

    Args:
        candidates: (M, D).
        plan: what to go by.
        keeps: whether a tile that was made once is kept. If not, there is never a copy of all candidates.
    """

    def __init__(self, candidates: Tensor, plan: Plan, keeps: bool = False) -> None:
        self._made: dict[int, Tile] | None = {} if keeps else None
        self._candidates, self._unit = candidates, plan.unit_candidates
        self._width, self._dtype = plan.tiling.width, plan.dtype
        self._product_dtype = plan.tiling.product_dtype or plan.dtype

    def __len__(self) -> int:
        """Return the number of tiles."""
        return -(-len(self._candidates) // self._width)

    def __getitem__(self, number: int) -> Tile:
        """Return a tile by its number."""
        if self._made is None:
            return self._make(number)
        if number not in self._made:
            self._made[number] = self._make(number)
        return self._made[number]

    def _make(self, number: int) -> Tile:
        first = number * self._width
        columns = slice(first, min(first + self._width, len(self._candidates)))
        rows = self._candidates[columns]
        if not self._unit:
            return Tile(number, columns, rows.to(self._product_dtype), None)
        rows = rows.to(self._dtype)
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        lengths.clamp_(min=least_length(self._candidates.dtype))
        return Tile(number, columns, (rows / lengths).to(self._product_dtype), lengths)

    def __iter__(self) -> Iterator[Tile]:
        """Yield each tile."""
        return (self[number] for number in range(len(self)))

    def put_gradient(self, tile: Tile, part: Tensor, whole: Tensor, first: bool, last: bool) -> None:
        """Put a part of the gradient of a tile into that of all candidates.

        Args:
            tile: the tile.
            part: (w, D) gradient with respect to the vectors that are compared, of some rows; may change.
            whole: (M, D) that of the candidates.
            first: whether there is nothing of this tile yet, so that ``whole`` may hold anything.
            last: whether all rows are there then.
        """
        place = whole[tile.columns]
        if not first:
            part = place.add_(part)
        if tile.lengths is None or not last:
            if first:
                place.copy_(part)
            return
        part = part.contiguous()  # a transposed one would make every step below slow
        unit = tile.vectors
        if unit.dtype != self._dtype:
            unit = self._candidates[tile.columns].to(self._dtype) / tile.lengths
        along = torch.linalg.vecdot(part, unit).unsqueeze(1)
        torch.div(part.addcmul_(unit, along, value=-1.0), tile.lengths, out=place)

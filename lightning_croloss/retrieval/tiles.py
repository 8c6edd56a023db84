"""Scores of users against the whole catalogue, a bounded tile of them at a time."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_croloss.common.products import product
from lightning_croloss.retrieval.arguments import check_tile_elements, check_vectors

# Columns at the ragged end of a matrix product may be computed by another kernel that sums in another order:
# equal items then differ in the last bit and ties are lost. Widths of whole vector registers avoid this
# (measured on x86: in float32, bfloat16 and float16 always; in float64 not always).
_ALIGNMENT = 64

# Fewer rows than this make the product read the whole item matrix for little work: item tiles are cheaper.
_FEWEST_WHOLE_ROWS = 16
_MOST_ROWS_OF_ITEM_TILES = 256

# Users whose pairs are scored by one product: few, because it also scores them with each other's items.
_ROWS_OF_PAIRS = 64


class ScoreTiles:
    """Plans row blocks and item tiles so that no more than ``tile_elements`` scores exist at a time.

    The score of an item is the maximum over the K interests of the dot products, taken within the tile.
    Whole rows are computed at once where enough of them fit; otherwise all item tiles have the same width,
    the last one overlapping its predecessor, so that the same kernel computes every score.

    Args:
        users: (B, K, D) user representations.
        item_matrix: (N, D); row i is item id i + 1.
        tile_elements: the most products (rows × K × items) to hold at a time; one user and one item
            are always taken.
        fewest_whole_rows: whole rows are computed at once if this many of them fit, or all.
        most_rows: the most users in a block otherwise.
        planned_items: the number of items that blocks and tiles are made for, at least N; None is N.
            Processes that compare the same users with different items of their own, and plan alike, compute
            all scores by the same kernels.

    Attributes:
        rows: users in a block.
        width: items in a tile; at least N where whole rows fit.
        dtype: dtype of the scores, the wider of both inputs.

    Raises:
        ValueError: if a shape does not fit or ``tile_elements`` is below 1.
        TypeError: if vectors are not tensors of floating-point numbers, or ``tile_elements`` is no integer.
    """

    def __init__(
        self,
        users: Tensor,
        item_matrix: Tensor,
        tile_elements: int,
        fewest_whole_rows: int = _FEWEST_WHOLE_ROWS,
        most_rows: int = _MOST_ROWS_OF_ITEM_TILES,
        planned_items: int | None = None,
    ) -> None:
        check_vectors(users, item_matrix)
        check_tile_elements(tile_elements)
        self.users = users
        self.num_items = item_matrix.shape[0]
        self.dtype = torch.promote_types(users.dtype, item_matrix.dtype)
        self.rows, self.width = _shape(
            users.shape[0],
            users.shape[1],
            self.num_items if planned_items is None else planned_items,
            tile_elements,
            fewest_whole_rows,
            most_rows,
        )
        missing = max(0, self.width - self.num_items)
        self._items = F.pad(item_matrix, (0, 0, 0, missing)) if missing else item_matrix

    def of(self, users: Tensor) -> ScoreTiles:
        """Return the same tiles for other users (b, K, D) of this dtype, at most as many as were planned."""
        other = copy.copy(self)
        other.users = users
        return other

    @property
    def whole_rows(self) -> bool:
        """Whether a single tile holds the whole catalogue."""
        return self.width >= self.num_items

    def blocks(self) -> Iterator[slice]:
        """Yield the slices of users to process one after the other."""
        for start in range(0, self.users.shape[0], self.rows):
            yield slice(start, min(start + self.rows, self.users.shape[0]))

    def scores(self, block: slice) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(first, scores (b, w))`` until each item has come once, in ascending order of ids.

        Column j of ``scores`` is the item of id ``first + j + 1``. Autocast does not apply: scores are as
        precise as the inputs.
        """
        users = self.users[block].to(self.dtype)
        for first in range(0, self.num_items, self.width):
            start = max(0, min(first, self.num_items - self.width))
            best = self._best(users, self._items[start : start + self.width], len(users))
            yield first, best[:, first - start : self.num_items - start]

    def scores_of_pairs(self, block: slice, rows: Tensor, ids: Tensor) -> Tensor:
        """Return the scores (P,) of users of a block with items, as :meth:`scores` has them.

        The products are of the same kind as those of whole tiles, and agree with them to the last bit where
        the library computes each sum alike wherever it stands in a matrix. Callers must check that.

        Args:
            block: the block.
            rows: (P,) indices of users within the block, ascending.
            ids: (P,) item ids from 1.
        """
        users = self.users[block].to(self.dtype)
        found = torch.empty(len(ids), dtype=self.dtype, device=users.device)
        beginnings = torch.arange(0, len(users), _ROWS_OF_PAIRS, device=rows.device)
        bounds = [*torch.searchsorted(rows, beginnings).tolist(), len(rows)]
        for number, begin in enumerate(bounds[:-1]):
            start = max(0, min(number * _ROWS_OF_PAIRS, len(users) - _ROWS_OF_PAIRS))
            few = users[start : start + _ROWS_OF_PAIRS]
            for left in range(begin, bounds[number + 1], self.width):
                part = slice(left, min(left + self.width, bounds[number + 1]))
                wanted = F.pad(ids[part] - 1, (0, -(part.stop - left) % _ALIGNMENT))
                scores = self._best(few, self._items[wanted], len(users))
                columns = torch.arange(part.stop - left, device=rows.device)
                found[part] = scores[rows[part] - start, columns]
        return found

    def _best(self, users: Tensor, items: Tensor, rows: int) -> Tensor:
        """Return the scores (r, w) of users (r, K, D) with items (w, D), as in a block of ``rows`` users."""
        found = product(users.flatten(0, 1), items.to(self.dtype), rows * users.shape[1])
        return found if users.shape[1] == 1 else found.unflatten(0, users.shape[:2]).amax(1)


def _shape(
    num_users: int, interests: int, num_items: int, tile_elements: int, fewest_whole_rows: int, most_rows: int
) -> tuple[int, int]:
    """Return (rows of a block, items of a tile)."""
    aligned = max(1, math.ceil(num_items / _ALIGNMENT)) * _ALIGNMENT
    for width in (aligned, max(1, num_items)):
        rows = tile_elements // (interests * width)
        if rows >= max(1, min(num_users, fewest_whole_rows)):
            return max(1, min(num_users, rows)), width
    rows = max(1, min(num_users, most_rows, math.isqrt(tile_elements // interests)))
    width = max(1, min(num_items, tile_elements // (rows * interests)))
    return rows, width - width % _ALIGNMENT if width > _ALIGNMENT else width


def locate(ids: Tensor, first: int, width: int) -> tuple[Tensor, Tensor]:
    """Find items in the tile of ids ``first + 1`` … ``first + width``.

    Args:
        ids: (b, X) item ids, 0 = padding.
        first: number of items before the tile.
        width: number of items in the tile.

    Returns:
        (b, X) bool, whether the item is in the tile; and (b, X) its column, or some valid one if it is not.
    """
    columns = ids - 1 - first
    inside = (columns >= 0) & (columns < width)
    return inside, columns.clamp(0, width - 1)

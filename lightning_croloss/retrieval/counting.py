"""Counting for ranks: which pairs of user and item there are, and how many scores are below each pair's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# A user with more targets is ranked by sorting the scores, instead of by counting for each target.
_HEAVY = 256
# The most pairs of target and excluded item that are compared at a time.
_MOST_COMPARED = 2**20


@dataclass(frozen=True)
class Pairs:
    """The real entries of (b, X) ids: rows, columns and ids, each (P,) and in the order of the rows.

    An id is the number of an item within the tiles that it is looked up in, from 1.
    """

    rows: Tensor
    columns: Tensor
    ids: Tensor

    @staticmethod
    def of(ids: Tensor) -> Pairs:
        """Return the entries of (b, X) ids that are not 0."""
        rows, columns = ids.nonzero(as_tuple=True)
        return Pairs(rows, columns, ids[rows, columns])

    def of_heavy_rows(self) -> Iterator[tuple[int, slice]]:
        """Yield the rows with so many entries that sorting pays, and which entries these are."""
        if len(self.rows) <= _HEAVY:
            return
        rows, counts = self.rows.unique_consecutive(return_counts=True)
        stop = counts.cumsum(0)
        for number in (counts > _HEAVY).nonzero().squeeze(1).tolist():
            end = int(stop[number])
            yield int(rows[number]), slice(end - int(counts[number]), end)


class _Picked:
    """Collects the scores of pairs from the tiles, which come in the order of ids.

    They are put into one tensor. Many small ones, one a tile, would each lie where the tile before was, so
    that the allocator has no room there for the next tile, and takes new memory for each of thousands.

    Args:
        pairs: the pairs.
        like: something of the scores' dtype.

    Attributes:
        found: (P,) the scores so far, in the order of the pairs.
    """

    def __init__(self, pairs: Pairs, like: Tensor) -> None:
        self.found = like.new_empty(len(pairs.ids))
        self._order = pairs.ids.argsort()
        self._rows, self._ids = pairs.rows[self._order], pairs.ids[self._order]
        self._done = 0

    def take(self, first: int, scores: Tensor) -> None:
        """Take what the tile of the items after ``first`` has of them."""
        stop = int(torch.searchsorted(self._ids, first + scores.shape[1], right=True))
        part = slice(self._done, stop)
        self.found[self._order[part]] = scores[self._rows[part], self._ids[part] - 1 - first]
        self._done = stop


def count(
    tiles: Iterable[tuple[int, Tensor]],
    scores: Tensor,
    pairs: Pairs,
    own: Pairs,
    rivals: Pairs,
    shape: torch.Size,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare every pair's score with those of all items of the tiles.

    Args:
        tiles: the tiles of the block's scores.
        scores: (P,) scores of the targets.
        pairs: the targets.
        own: those of the targets that are items of the tiles, with their numbers there.
        rivals: the excluded items of the tiles.
        shape: (b, T) of the targets.

    Returns:
        (P,) int64 numbers of items whose score is below; the scores in the tiles of ``own``, and of the
        rivals.
    """
    heavy = list(pairs.of_heavy_rows())
    groups = _groups(pairs, shape, [part for _, part in heavy])
    below = torch.zeros_like(pairs.ids)
    picked = [_Picked(own, scores), _Picked(rivals, scores)]
    room = None
    for first, tile in tiles:
        for kind in picked:
            kind.take(first, tile)
        if room is None or room.shape != tile.shape:
            room = _room(tile)
        for row, part in heavy:
            below[part] += _below_each(tile[row], scores[part])
        for whole, group in groups:
            compared = tile if whole else tile[pairs.rows[group]]
            below[group] += _below(compared, scores[group, None], room[: len(group)])
    return below, picked[0].found, picked[1].found


def excluded_rivals(
    scores: Tensor, pairs: Pairs, excluded: Tensor, rivals: Pairs, theirs: Tensor, most_rows: int
) -> Tensor:
    """Return (P,) int64 how many of its user's excluded items are not below each target.

    Args:
        scores: (P,) scores of the targets.
        pairs: the targets.
        excluded: (b, E) the excluded items, 0 = padding.
        rivals: the same as pairs.
        theirs: (Q,) their scores.
        most_rows: the most targets that are compared at a time.
    """
    found = torch.zeros_like(pairs.ids)
    if not len(rivals.rows):
        return found
    table = torch.zeros_like(excluded, dtype=theirs.dtype)
    table[rivals.rows, rivals.columns] = theirs
    heavy = torch.zeros_like(pairs.rows, dtype=torch.bool)
    for row, part in pairs.of_heavy_rows():
        of_row = table[row][excluded[row] > 0]
        found[part] = len(of_row) - _below_each(of_row, scores[part])
        heavy[part] = True
    step = max(1, min(most_rows, _MOST_COMPARED // max(1, excluded.shape[1])))
    for part in (~heavy).nonzero().squeeze(1).split(step):
        rows = pairs.rows[part]
        others = excluded[rows] > 0
        found[part] = (others & ~(table[rows] < scores[part, None])).sum(1)
    return found


def _groups(pairs: Pairs, shape: torch.Size, without: list[slice]) -> list[tuple[bool, Tensor]]:
    """Divide the pairs (P,) into groups of at most b; True where a group has each row once, in order.

    Users have very different numbers of targets: a column that every row fills is compared with the tile as
    it is, the rest row by row.
    """
    numbers = torch.arange(len(pairs.rows), device=pairs.rows.device)
    if without:
        left = torch.ones_like(numbers, dtype=torch.bool)
        for part in without:
            left[part] = False
        numbers = numbers[left]
        return [(False, group) for group in numbers.split(shape[0]) if len(group)]
    filled = torch.bincount(pairs.columns, minlength=shape[1]) == shape[0]
    whole = [(True, numbers[pairs.columns == column]) for column in filled.nonzero().squeeze(1)]
    rest = numbers[~filled[pairs.columns]]
    return whole + [(False, group) for group in rest.split(shape[0]) if len(group)]


def _room(tile: Tensor) -> Tensor:
    # a processor writes and adds numbers of 32 bits six times faster than bools
    dtype = torch.float32 if tile.device.type == "cpu" and tile.shape[1] <= 2**24 else torch.bool
    return torch.empty(tile.shape, dtype=dtype, device=tile.device)


def _below(scores: Tensor, bound: Tensor, room: Tensor) -> Tensor:
    """Return (b,) how many of the scores (b, w) are below the bound (b, 1); ``room`` (b, w) is scratch."""
    torch.lt(scores, bound, out=room)
    if room.dtype == torch.bool:
        return room.sum(1, dtype=torch.int32).long()  # three times faster than int64
    return room.sum(1).long()  # at most 2^24: exact


def _below_each(scores: Tensor, bounds: Tensor) -> Tensor:
    """Return (p,) how many of one row's scores (w,) are below each of the bounds (p,); NaN is below nothing.

    Sorting costs as much as a few hundred comparisons of the row.
    """
    ordered = scores.masked_fill(scores.isnan(), torch.inf).sort().values
    return torch.searchsorted(ordered, bounds.masked_fill(bounds.isnan(), -torch.inf).contiguous())


def same(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors of scores are equal, NaN to NaN too."""
    return bool(((a == b) | (a.isnan() & b.isnan())).all())

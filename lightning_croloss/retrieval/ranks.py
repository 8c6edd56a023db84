"""Exact ranks of targets over the whole catalogue in bounded memory, by counting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.common.repeats import without_repeats
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.retrieval.ids import (
    check_ids,
    check_padding_id,
    checked_excluded,
    warn_of_ids_from_0,
    warn_of_padding_row,
)
from lightning_croloss.retrieval.tiles import ScoreTiles

#: Ranks above this one are of targets that no list can hold, since they are excluded: a miss for every n.
UNREACHABLE = 2**30

# A processor counts four times faster while a tile that was just computed is still in its cache.
_CACHED_ELEMENTS = 2**19
_ROWS_OF_CACHED_TILES = 512

# A user with more targets is ranked by sorting the scores, instead of by counting for each target.
_HEAVY = 256
# The most pairs of target and excluded item that are compared at a time.
_MOST_COMPARED = 2**20


@uncompiled  # exactness rests on the kernels called here
def target_ranks(
    users: Tensor,
    item_matrix: Tensor,
    targets: Tensor,
    *,
    excluded: Tensor | None = None,
    tile_elements: int = 2**24,
    padding_id: int | None = 0,
) -> Tensor:
    """Rank each target among all items of the catalogue.

    The rank is 1 + the number of other candidates whose score is not below the target's: ties count against
    the target, and so does NaN on either side, so that a constant or diverged model gets the worst rank. The
    user's other targets stay candidates. A target is told from its rivals by its id, and its score is the
    same to the last bit as in the matrix product that has its rivals' scores. Memory stays within a small
    multiple of ``tile_elements``. Autocast does not apply.

    A user's targets are a set: one that comes again in its row has rank 0, as padding has. A target that is
    itself excluded can never be delivered: it is a miss, with a rank beyond every n that no other target of
    the user has. Metrics count it among the targets, not among the hits.

    Args:
        users: (B, K, D) user representations; the score of an item is the maximum over the K interests.
        item_matrix: (N, D); row i is item id i + 1. With another ``padding_id`` than 0 row i is item id i.
        targets: (B, T) item ids, 0 = padding.
        excluded: (B, E) ids that are not candidates, such as the history; 0 = padding.
        tile_elements: the most scores (rows × K × items) to hold at a time; on a processor, tiles are
            smaller than that if they would not fit its cache.
        padding_id: 0 if ids count from 1. If they count from 0: the id that pads targets and excluded, which
            no row has, such as -1; or None if nothing is padded.

    Returns:
        (B, T) int64 ranks, 1 … N; above ``UNREACHABLE`` = 2^30 for excluded targets; 0 for padding.

    Raises:
        ValueError: if a shape does not fit, an id is not that of an item, or ``tile_elements`` is
            below 1.
        TypeError: if ids are not integers.
    """
    with torch.no_grad():
        if users.device.type == "cpu":
            most = min(tile_elements, _CACHED_ELEMENTS)
            tiles = ScoreTiles(users, item_matrix, most, _ROWS_OF_CACHED_TILES, _ROWS_OF_CACHED_TILES)
        else:
            tiles = ScoreTiles(users, item_matrix, tile_elements)
        check_padding_id(padding_id, tiles.num_items)
        targets = check_ids("targets", targets, users.shape[0], tiles.num_items, padding_id)
        excluded = checked_excluded(excluded, users, tiles.num_items, padding_id)
        if padding_id == 0:
            warn_of_ids_from_0(targets, tiles.num_items)
            warn_of_padding_row(item_matrix)
        ranks = torch.zeros_like(targets)
        for block in tiles.blocks():
            wanted, barred = without_repeats(targets[block]), without_repeats(excluded[block])
            wanted, ranks[block] = deliverable(wanted, barred, tiles.num_items)
            _rank_block(tiles, block, wanted, barred, ranks[block])
        return ranks


def deliverable(targets: Tensor, excluded: Tensor, num_items: int) -> tuple[Tensor, Tensor]:
    """Divide targets into those that a list can hold, and the others.

    Args:
        targets: (B, T) item ids, 0 = padding.
        excluded: (B, E) ids that are not candidates, 0 = padding.
        num_items: the largest id that there is.

    Returns:
        (B, T) the targets with 0 in place of the excluded ones; and (B, T) ranks beyond every n of these, 0
        for the others.
    """
    rows, columns = targets.nonzero(as_tuple=True)
    others, places = excluded.nonzero(as_tuple=True)
    size = num_items + 1
    # pairs of row and id: memory follows their number, not that of targets times excluded
    barred = torch.isin(rows * size + targets[rows, columns], others * size + excluded[others, places])
    is_barred = torch.zeros_like(targets, dtype=torch.bool)
    is_barred[rows, columns] = barred
    beyond = UNREACHABLE + 1 + torch.arange(targets.shape[1], device=targets.device)
    return targets.masked_fill(is_barred, 0), beyond * is_barred


def _rank_block(tiles: ScoreTiles, block: slice, targets: Tensor, excluded: Tensor, ranks: Tensor) -> None:
    """Fill in ``ranks`` (b, T) those of a block's targets (b, T), none of which is among ``excluded`` (b, E).

    Neither holds an id twice.
    """
    pairs, rivals = _Pairs.of(targets), _Pairs.of(excluded)
    if len(pairs.rows) == 0:
        return
    if tiles.whole_rows:
        kept = list(tiles.scores(block))
        scores = kept[0][1][pairs.rows, pairs.ids - 1]
    else:
        kept = None
        scores = tiles.scores_of_pairs(block, pairs.rows, pairs.ids)
    below, own, theirs = _count(kept or tiles.scores(block), scores, pairs, rivals, targets.shape)
    if not _same(scores, own):
        # different kernels computed the pairs and the tiles: take the scores of the tiles
        scores = own
        below, _, theirs = _count(tiles.scores(block), scores, pairs, rivals, targets.shape)
    # what is not below is a rival, except for the target itself and the excluded
    found = tiles.num_items - below
    if len(rivals.rows):
        excluded_scores = torch.zeros_like(excluded, dtype=theirs.dtype)
        excluded_scores[rivals.rows, rivals.columns] = theirs
        heavy = torch.zeros_like(pairs.rows, dtype=torch.bool)
        for row, part in pairs.of_heavy_rows():
            rivals_of_row = excluded_scores[row][excluded[row] > 0]
            found[part] -= len(rivals_of_row) - _below_each(rivals_of_row, scores[part])
            heavy[part] = True
        step = max(1, min(tiles.rows, _MOST_COMPARED // max(1, excluded.shape[1])))
        for part in (~heavy).nonzero().squeeze(1).split(step):
            rows = pairs.rows[part]
            others = excluded[rows] > 0
            found[part] -= (others & ~(excluded_scores[rows] < scores[part, None])).sum(1)
    ranks[pairs.rows, pairs.columns] = found


@dataclass(frozen=True)
class _Pairs:
    """The real entries of (b, X) ids: rows, columns and ids, each (P,) and in the order of the rows."""

    rows: Tensor
    columns: Tensor
    ids: Tensor

    @staticmethod
    def of(ids: Tensor) -> _Pairs:
        rows, columns = ids.nonzero(as_tuple=True)
        return _Pairs(rows, columns, ids[rows, columns])

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
    """Collects the scores of pairs from the tiles, which come in the order of ids."""

    def __init__(self, pairs: _Pairs) -> None:
        self._order = pairs.ids.argsort()
        self._rows, self._ids = pairs.rows[self._order], pairs.ids[self._order]
        self._parts: list[Tensor] = []
        self._done = 0

    def take(self, first: int, scores: Tensor) -> None:
        stop = int(torch.searchsorted(self._ids, first + scores.shape[1], right=True))
        part = slice(self._done, stop)
        self._parts.append(scores[self._rows[part], self._ids[part] - 1 - first])
        self._done = stop

    def in_order_of_pairs(self) -> Tensor:
        found = torch.cat(self._parts)
        return torch.empty_like(found).index_copy_(0, self._order, found)


def _count(
    tiles: Iterable[tuple[int, Tensor]], scores: Tensor, pairs: _Pairs, rivals: _Pairs, shape: torch.Size
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare every pair's score with all items'.

    Args:
        tiles: the tiles of the block's scores.
        scores: (P,) scores of the targets.
        pairs: the targets.
        rivals: the excluded items.
        shape: (b, T) of the targets.

    Returns:
        (P,) int64 numbers of items whose score is below; (P,) the targets' scores in the tiles; (Q,) those
        of the excluded.
    """
    heavy = list(pairs.of_heavy_rows())
    groups = _groups(pairs, shape, [part for _, part in heavy])
    below = torch.zeros_like(pairs.ids)
    own, theirs = _Picked(pairs), _Picked(rivals)
    room = None
    for first, tile in tiles:
        own.take(first, tile)
        theirs.take(first, tile)
        if room is None or room.shape != tile.shape:
            room = _room(tile)
        for row, part in heavy:
            below[part] += _below_each(tile[row], scores[part])
        for whole, group in groups:
            compared = tile if whole else tile[pairs.rows[group]]
            below[group] += _below(compared, scores[group, None], room[: len(group)])
    return below, own.in_order_of_pairs(), theirs.in_order_of_pairs()


def _groups(pairs: _Pairs, shape: torch.Size, without: list[slice]) -> list[tuple[bool, Tensor]]:
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


def _same(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())

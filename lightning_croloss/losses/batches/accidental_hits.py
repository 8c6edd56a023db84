"""Accidental hits: the candidates that a row must ignore because they are not negatives for it.

A draw may hit the row's own target, an item that the row excludes (another known positive), or be padding.
The naive path asks for a mask of all pairs, :func:`hit_mask`; the fused path, which never holds all pairs,
asks for the hits of one tile at a time, on a CPU :class:`AccidentalHits`, else see ``tile_hits.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_croloss.common.counting_ids import known_first
from lightning_croloss.common.item_lists import Ids, ItemLists

#: Ids of a catalogue that are compared at a time.
_PIECE = 2**20


def hit_mask(
    candidate_ids: Tensor, target_ids: Tensor | None = None, excluded_ids: Ids | None = None
) -> Tensor:
    """Return where a candidate is padding, its row's target, or one of its row's excluded items.

    Args:
        candidate_ids: (M,) shared by the rows, or (B, M); 0 = padding.
        target_ids: (B,) or None.
        excluded_ids: (B, E) padded with 0, or lists, or None.

    Returns:
        (B, M) bool, or (M,) if all rows ignore the same. True = ignore.
    """
    ignored = candidate_ids == 0
    if target_ids is not None:
        ignored = ignored | (candidate_ids == target_ids.unsqueeze(-1))
    if excluded_ids is None or candidate_ids.numel() == 0:
        return ignored
    if candidate_ids.dim() == 1:
        return ignored | SortedIds.of(candidate_ids).among(excluded_ids)
    if isinstance(excluded_ids, ItemLists):
        return ignored | _listed(candidate_ids, excluded_ids)
    return ignored | (candidate_ids.unsqueeze(-1) == excluded_ids.unsqueeze(1)).any(-1)


def _listed(candidate_ids: Tensor, lists: ItemLists) -> Tensor:
    """Return (B, M) bool: whether a candidate (B, M) is in its row's list."""
    if not len(lists.values):
        return torch.zeros_like(candidate_ids, dtype=torch.bool)
    # pairs of list and id: memory follows their number, not that of rows times the longest list. An id stands
    # for its place, as ids of any sign and size, hashes among them, would make one pair of two
    ids, size = SortedIds.of(lists.values), len(lists.values) + 1
    known = (lists.list_of_value * size + ids.place).sort().values
    wanted = lists.rows.unsqueeze(1) * size + ids.find(candidate_ids)
    found: Tensor = known[torch.searchsorted(known, wanted).clamp(max=len(known) - 1)] == wanted
    return found


class SortedIds(NamedTuple):
    """Candidates that the rows share, to tell which of them are in a row's list.

    Marking by index costs B × (E + M), where comparing each pair would cost B × E × M. An id stands for its
    first place in ascending order, so that no size depends on ids, and a device is not asked for one.

    Attributes:
        ordered: (M,) ids in ascending order, at least one.
        place: (M,) of each candidate the first place of its id in that order.
    """

    ordered: Tensor
    place: Tensor

    @classmethod
    def of(cls, candidate_ids: Tensor) -> SortedIds:
        """Sort candidates (M,)."""
        ordered = candidate_ids.sort().values
        return cls(ordered, torch.searchsorted(ordered, candidate_ids))

    def among(self, lists: Ids) -> Tensor:
        """Return (B, M) bool: which candidates are in each row's list, (B, E) padded, or lists."""
        number, size = len(lists), len(self.ordered)
        if isinstance(lists, Tensor):
            marked = torch.zeros(number, size + 1, dtype=torch.bool, device=lists.device)
            return marked.scatter_(1, self.find(lists), True)[:, self.place]
        # a list is marked once, in the place of one of the rows that have it
        numbers = torch.arange(number, device=lists.device)
        owner = numbers.new_full((len(lists.offsets) - 1,), number).scatter_(0, lists.rows, numbers)
        marked = torch.zeros(number + 1, size + 1, dtype=torch.bool, device=lists.device)
        places = owner[lists.list_of_value] * (size + 1) + self.find(lists.values)
        marked.view(-1).index_fill_(0, places, True)
        return marked[owner[lists.rows].unsqueeze(1), self.place]

    def find(self, ids: Tensor) -> Tensor:
        """Return the first place of each id, M if it is none of the candidates."""
        size = len(self.ordered)
        dtype = torch.promote_types(self.ordered.dtype, ids.dtype)
        ordered, ids = self.ordered.to(dtype), ids.to(dtype).contiguous()
        found_at = torch.searchsorted(ordered, ids).clamp(max=size - 1)
        return found_at.masked_fill(ordered[found_at] != ids, size)


class AccidentalHits:
    """The accidental hits among candidates that the rows share, grouped by tile.

    Memory and time grow with the number of hits, not with the size of the score matrix.

    Args:
        candidate_ids: (M,) item ids; 0 = padding.
        target_ids: (B,) or None: a candidate equal to its row's target is ignored.
        excluded_ids: (B, E) padded with 0, or lists, or None: so are these.
        rows: rows of a tile.
        width: candidates of a tile; the last tile may be narrower.
    """

    def __init__(
        self,
        candidate_ids: Tensor,
        target_ids: Tensor | None,
        excluded_ids: Ids | None,
        rows: int,
        width: int,
    ) -> None:
        size = candidate_ids.shape[0]
        self._tiles = -(-size // width)
        first = _first_of_catalogue(candidate_ids)
        self._padding, self._padding_starts = _grouped_padding(candidate_ids, first, width, self._tiles)
        self._positions, self._starts = candidate_ids.new_empty(0, dtype=torch.long), [0]
        listed = [] if target_ids is None else [target_ids.unsqueeze(1)]
        if isinstance(excluded_ids, Tensor):
            listed.append(excluded_ids)
        pairs = [_pairs(candidate_ids, first, _beside(listed))] if listed else []
        if isinstance(excluded_ids, ItemLists):
            pairs.append(_hits_of_lists(candidate_ids, first, excluded_ids))
        if not pairs:
            return
        row, column = pairs[0] if len(pairs) == 1 else map(torch.cat, zip(*pairs, strict=True))
        given = target_ids if excluded_ids is None else excluded_ids
        if self._tiles == 1 and given is not None and len(given) <= rows:  # all in the only tile
            self._positions, self._starts = row * size + column, [0, len(row)]
            return
        tile = column // width
        width_of_tile = torch.clamp(size - tile * width, max=width)
        position = (row % rows) * width_of_tile + column % width  # in the tile, row by row
        block = row // rows
        key = block * self._tiles + tile
        order = torch.argsort(key)
        self._positions = position[order]
        self._starts = [0, *torch.bincount(key).cumsum(0).tolist()]

    def ignore(self, scores: Tensor, block: int, tile: int, value: float) -> None:
        """Set the scores of ignored pairs to ``value``, in place.

        Args:
            scores: contiguous scores of one tile, (rows, width).
            block: number of the block of rows.
            tile: number of the tile within the block.
            value: what the kernels take for "far below".
        """
        key = block * self._tiles + tile
        if key + 1 < len(self._starts) and self._starts[key] < self._starts[key + 1]:
            positions = self._positions[self._starts[key] : self._starts[key + 1]]
            scores.view(-1).index_fill_(0, positions, value)
        start, stop = self._padding_starts[tile], self._padding_starts[tile + 1]
        if start < stop:
            scores.index_fill_(1, self._padding[start:stop], value)


def listed_pairs(candidate_ids: Tensor, excluded_ids: Ids) -> tuple[Tensor, Tensor]:
    """Return row and column (P,) of each candidate (M,) whose id is in the row's list, padded or not."""
    if isinstance(excluded_ids, ItemLists):
        return _hits_of_lists(candidate_ids, _first_of_catalogue(candidate_ids), excluded_ids)
    return hit_pairs(candidate_ids, excluded_ids)


def hit_pairs(candidate_ids: Tensor, listed: Tensor) -> tuple[Tensor, Tensor]:
    """Return row and column of each candidate whose id is in the row's list.

    Args:
        candidate_ids: (M,) ids; 0 = padding, which matches nothing.
        listed: (B, L) ids of each row, padded with 0.

    Returns:
        Two (P,) tensors; a pair comes more than once if its id is listed more than once.
    """
    return _pairs(candidate_ids, _first_of_catalogue(candidate_ids), listed)


def _pairs(candidate_ids: Tensor, start: int | None, listed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same, where it is known what ``_first_of_catalogue`` says."""
    entry, column = _hits(candidate_ids, start, listed.flatten())
    return entry if listed.shape[1] == 1 else entry // max(1, listed.shape[1]), column


def _beside(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _hits(candidate_ids: Tensor, start: int | None, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each pair of equal ids which of ``ids`` (S,), ascending, and which candidate (M,) it is.

    Args:
        candidate_ids: (M,).
        start: what ``_first_of_catalogue`` says of them.
        ids: (S,).
    """
    size = candidate_ids.shape[0]
    if start is not None:  # item i is candidate i − start
        entry = torch.nonzero((ids > 0) & (ids < start + size)).squeeze(1)
        return entry, ids[entry] - start
    ordered, index_of = torch.sort(candidate_ids)
    given = torch.nonzero(ids).squeeze(1)  # most of a padded list may be padding
    first, count = _ranges(ordered, ids[given].to(ordered.dtype))
    hit = torch.nonzero(count).squeeze(1)
    found = ItemLists.of_ranges(index_of, first[hit], first[hit] + count[hit])
    return given[hit[found.list_of_value]], found.values


def _ranges(ordered: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each wanted id where it begins among the ordered ids (M,), and how often it is there."""
    if ordered.device.type == "cpu" and len(ordered) and len(wanted):
        size = int(ordered[-1]) + 1
        if ordered[0] >= 0 and size <= len(wanted):  # a table of all ids is faster than to search each
            count_of = torch.bincount(ordered, minlength=size)
            known = (wanted >= 0) & (wanted < size)
            place = wanted.where(known, 0)
            return (count_of.cumsum(0) - count_of)[place], count_of[place].where(known, 0)
    first = torch.searchsorted(ordered, wanted)
    return first, torch.searchsorted(ordered, wanted, right=True) - first


def _hits_of_lists(candidate_ids: Tensor, start: int | None, lists: ItemLists) -> tuple[Tensor, Tensor]:
    """Return row and column of each candidate (M,) whose id is in the row's list, each pair once.

    ``start`` is what ``_first_of_catalogue`` says of the candidates.
    """
    size = max(1, candidate_ids.shape[0])
    entry, column = _hits(candidate_ids, start, lists.values)
    pairs = (lists.list_of_value[entry] * size + column).unique()  # found once for a list, not for each row
    counts = torch.bincount(pairs // size, minlength=len(lists.offsets) - 1)
    stop = counts.cumsum(0)
    of_rows = ItemLists.of_ranges(pairs % size, (stop - counts)[lists.rows], stop[lists.rows])
    return of_rows.list_of_value, of_rows.values


def _first_of_catalogue(candidate_ids: Tensor) -> int | None:
    """Return the first of ids that count up from 1, or from 0 as the rows of a table do; None of others."""
    known = known_first(candidate_ids)
    return known if known in (0, 1) and len(candidate_ids) else _find_first(candidate_ids)


def _find_first(candidate_ids: Tensor) -> int | None:
    size = candidate_ids.shape[0]
    first = int(candidate_ids[0]) if size else 2
    if first not in (0, 1) or int(candidate_ids[-1]) != first + size - 1:
        return None
    for piece in candidate_ids.split(_PIECE):  # all at once would be as many numbers again
        counting = torch.arange(first, first + len(piece), device=piece.device, dtype=piece.dtype)
        if not torch.equal(piece, counting):
            return None
        first += len(piece)
    return first - size


def _grouped_padding(
    candidate_ids: Tensor, start: int | None, width: int, tiles: int
) -> tuple[Tensor, list[int]]:
    """Return the columns of padding within their tiles, and where each tile's begin in that list."""
    if start is not None:  # of ids that count up only the first may be padding
        number = 1 if start == 0 else 0
        return candidate_ids.new_zeros(number, dtype=torch.long), [0, *[number] * tiles]
    columns = torch.nonzero(candidate_ids == 0).squeeze(1)
    counts = torch.bincount(columns // width, minlength=tiles)
    return columns % width, [0, *counts.cumsum(0).tolist()]

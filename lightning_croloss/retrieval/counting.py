"""Counting for ranks: how many scores of all items are below those of pairs of user and item."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lightning_croloss.retrieval.comparisons import Comparisons
from lightning_croloss.retrieval.pairs import Pairs

# The most pairs of target and excluded item that are compared at a time.
_MOST_COMPARED = 2**20


class _Picked:
    """Collects the scores of pairs from the tiles, which come in the order of ids.

    They are put into one tensor. Many small ones, one a tile, would each lie where the tile before was, so
    that the allocator has no room there for the next tile, and takes new memory for each of thousands.

    Args:
        pairs: the pairs.
        like: something of the scores' dtype.
    """

    def __init__(self, pairs: Pairs, like: Tensor) -> None:
        self._ordered = like.new_empty(len(pairs.ids))
        self._order = pairs.ids.argsort()
        self._rows, self._ids = pairs.rows[self._order], pairs.ids[self._order]
        self._done = 0

    def take(self, first: int, scores: Tensor) -> None:
        """Take what the tile of the items after ``first`` has of them."""
        if self._done == len(self._ids):
            return
        stop = int(torch.searchsorted(self._ids, first + scores.shape[1], right=True))
        part = slice(self._done, stop)
        self._ordered[part] = scores[self._rows[part], self._ids[part] - (1 + first)]
        self._done = stop

    def found(self) -> Tensor:
        """Return (P,) the scores in the order of the pairs, after all tiles."""
        return torch.empty_like(self._ordered).index_copy_(0, self._order, self._ordered)


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
        tiles: the tiles of the block's scores, whose memory is written over.
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
    comparisons = Comparisons(pairs, scores, shape, [part for _, part in heavy])
    below = torch.zeros_like(pairs.ids)
    picked = [_Picked(own, scores), _Picked(rivals, scores)]
    for first, tile in tiles:
        for kind in picked:
            kind.take(first, tile)
        for row, part in heavy:
            below[part] += _below_each(tile[row], scores[part])
        comparisons.add(tile)  # which leaves no score in it
    comparisons.put_into(below)
    return below, picked[0].found(), picked[1].found()


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


def _below_each(scores: Tensor, bounds: Tensor) -> Tensor:
    """Return (p,) how many of one row's scores (w,) are below each of the bounds (p,); NaN is below nothing.

    Sorting costs as much as a few hundred comparisons of the row.
    """
    ordered = scores.masked_fill(scores.isnan(), torch.inf).sort().values
    return torch.searchsorted(ordered, bounds.masked_fill(bounds.isnan(), -torch.inf).contiguous())


def same(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors of scores are equal, NaN to NaN too."""
    return bool(((a == b) | (a.isnan() & b.isnan())).all())

"""Exact ranks of targets over the whole catalogue in bounded memory, by counting."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.repeats import without_repeats
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.retrieval.arguments import check_tile_elements, check_vectors
from lightning_croloss.retrieval.counting import count, excluded_rivals, same
from lightning_croloss.retrieval.ids import (
    check_ids,
    check_padding_id,
    checked_excluded,
    warn_of_ids_from_0,
    warn_of_padding_row,
)
from lightning_croloss.retrieval.pairs import Pairs
from lightning_croloss.retrieval.tiles import ScoreTiles
from lightning_croloss.retrieval.triton.choice import is_countable

#: Ranks above this one are of targets that no list can hold, since they are excluded: a miss for every n.
UNREACHABLE = 2**30

# A processor counts four times faster while a tile that was just computed is still in its cache.
_CACHED_ELEMENTS = 2**19
_ROWS_OF_CACHED_TILES = 512
# Kernels in Triton hold no scores: rows of a block bound the tables of targets and excluded items alone.
_ROWS_BY_TRITON = 8192


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
        TypeError: if ids or ``tile_elements`` are not integers, or vectors not floating-point numbers.
    """
    with torch.no_grad():
        tiles = tiles_for_counting(users, item_matrix, tile_elements)
        check_padding_id(padding_id, tiles.num_items)
        targets = check_ids("targets", targets, users.shape[0], tiles.num_items, padding_id)
        excluded = checked_excluded(excluded, users, tiles.num_items, padding_id)
        if padding_id == 0:
            warn_of_ids_from_0(targets, tiles.num_items)
            warn_of_padding_row(item_matrix)
        ranks = torch.zeros_like(targets)
        by_triton = is_countable(users, item_matrix, targets)
        for block in _blocks_of(len(users), _ROWS_BY_TRITON) if by_triton else tiles.blocks():
            wanted, barred = without_repeats(targets[block]), without_repeats(excluded[block])
            wanted, ranks[block] = deliverable(wanted, barred, tiles.num_items)
            if by_triton and _rank_by_triton(users[block], item_matrix, wanted, barred, ranks[block]):
                continue
            for rows in _blocks_of(len(wanted), tiles.rows):
                part = slice(block.start + rows.start, block.start + rows.stop)
                _rank_block(tiles, part, wanted[rows], barred[rows], ranks[part])
        return ranks


def tiles_for_counting(
    users: Tensor, item_matrix: Tensor, tile_elements: int, planned_items: int | None = None
) -> ScoreTiles:
    """Return the tiles in which ranks are counted: on a processor small ones, which stay in its cache.

    Args:
        users: as for :class:`ScoreTiles`.
        item_matrix: the same.
        tile_elements: the same.
        planned_items: the same.
    """
    check_vectors(users, item_matrix)
    check_tile_elements(tile_elements)
    if users.device.type != "cpu":
        return ScoreTiles(users, item_matrix, tile_elements, planned_items=planned_items)
    most = min(tile_elements, _CACHED_ELEMENTS)
    rows = _ROWS_OF_CACHED_TILES
    return ScoreTiles(users, item_matrix, most, rows, rows, planned_items)


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


def _blocks_of(number: int, rows: int) -> list[slice]:
    return [slice(first, min(first + rows, number)) for first in range(0, number, rows)]


def _rank_by_triton(users: Tensor, items: Tensor, targets: Tensor, excluded: Tensor, ranks: Tensor) -> bool:
    """Do as :func:`_rank_block` by kernels in Triton, and tell whether a pair scores alone as in a tile."""
    from lightning_croloss.retrieval.triton.counts import count_below, scores_of_pairs

    pairs, rivals = Pairs.of(targets), Pairs.of(excluded)
    if len(pairs.rows) == 0:
        return True
    items = items if items.stride(1) == 1 else items.contiguous()
    scores = scores_of_pairs(users, items, pairs)
    bounds = torch.zeros(targets.shape, dtype=scores.dtype, device=scores.device)
    bounds[pairs.rows, pairs.columns] = scores
    below, own = count_below(users, items, targets, bounds)
    if not same(scores, own[pairs.rows, pairs.columns]):
        return False
    theirs = scores_of_pairs(users, items, rivals)
    barred = excluded_rivals(scores, pairs, excluded, rivals, theirs, len(users))
    ranks[pairs.rows, pairs.columns] = len(items) - below[pairs.rows, pairs.columns] - barred
    return True


def _rank_block(tiles: ScoreTiles, block: slice, targets: Tensor, excluded: Tensor, ranks: Tensor) -> None:
    """Fill in ``ranks`` (b, T) those of a block's targets (b, T), none of which is among ``excluded`` (b, E).

    Neither holds an id twice.
    """
    pairs, rivals = Pairs.of(targets), Pairs.of(excluded)
    if len(pairs.rows) == 0:
        return
    if tiles.whole_rows:
        kept = list(tiles.scores(block))
        scores = kept[0][1][pairs.rows, pairs.ids - 1]
    else:
        kept = None
        scores = tiles.scores_of_pairs(block, pairs.rows, pairs.ids)
    parts = pairs, pairs, rivals, targets.shape
    below, own, theirs = count(kept or tiles.scores(block), scores, *parts)
    if not same(scores, own):
        # different kernels computed the pairs and the tiles: take the scores of the tiles
        scores = own
        below, _, theirs = count(tiles.scores(block), scores, *parts)
    # what is not below is a rival, except for the target itself and the excluded
    barred = excluded_rivals(scores, pairs, excluded, rivals, theirs, tiles.rows)
    ranks[pairs.rows, pairs.columns] = tiles.num_items - below - barred

"""Exact top-N over the whole catalogue in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

from croloss_serving.common.list_length import check_n
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.retrieval.ids import (
    check_padding_id,
    checked_excluded,
    returned_ids,
    warn_of_padding_row,
)
from lightning_croloss.retrieval.tiles import ScoreTiles, locate


@uncompiled  # exactness rests on the kernels called here
def top_items(
    users: Tensor,
    item_matrix: Tensor,
    n: int,
    *,
    excluded: Tensor | None = None,
    tile_elements: int = 2**24,
    padding_id: int | None = 0,
) -> tuple[Tensor, Tensor]:
    """Find the n items of highest score for each user.

    Args:
        users: (B, K, D) user representations; the score of an item is the maximum over the K interests.
        item_matrix: (N, D); row i is item id i + 1. With another ``padding_id`` than 0 row i is item id i.
        n: how many items, 1 … N.
        excluded: (B, E) ids that are never returned, such as the history; 0 = padding.
        tile_elements: the most scores (rows × K × items) to hold at a time, besides the result.
        padding_id: 0 if ids count from 1. If they count from 0: the id that pads, which no row has, such as
            -1; or None if nothing is padded.

    Returns:
        (B, n) int64 ids and (B, n) scores, by descending score, equal scores by ascending id. Where fewer
        than n candidates are left, the row ends in ids 0 (or ``padding_id``, and -1 if that is None) with
        scores -inf. A score of NaN or -inf ranks last and is returned as the lowest finite number.

    Raises:
        ValueError: if n is not in 1 … N, a shape does not fit, an id is not that of an item, or
            ``tile_elements`` is below 1.
        TypeError: if ids or ``tile_elements`` are not integers, or vectors not floating-point numbers.
    """
    with torch.no_grad():
        tiles = ScoreTiles(users, item_matrix, tile_elements)
        check_n(n, tiles.num_items)
        check_padding_id(padding_id, tiles.num_items)
        excluded = checked_excluded(excluded, users, tiles.num_items, padding_id)
        if padding_id == 0:
            warn_of_padding_row(item_matrix)
        ids = torch.zeros(users.shape[0], n, dtype=torch.int64, device=users.device)
        scores = torch.full_like(ids, -torch.inf, dtype=tiles.dtype)
        for block in tiles.blocks():
            ids[block], scores[block] = block_top(tiles, block, n, excluded[block])
        return returned_ids(ids, padding_id), scores


def block_top(tiles: ScoreTiles, block: slice, n: int, excluded: Tensor) -> tuple[Tensor, Tensor]:
    """Return (b, n) ids and (b, n) scores of a block's best items."""
    lowest = torch.finfo(tiles.dtype).min
    best_ids = excluded.new_zeros(excluded.shape[0], 0)
    best_scores = torch.zeros_like(best_ids, dtype=tiles.dtype)
    for first, scores in tiles.scores(block):
        # -inf is left to the excluded alone
        scores.nan_to_num_(nan=lowest, posinf=torch.inf, neginf=lowest)
        inside, columns = locate(excluded, first, scores.shape[1])
        rows, positions = inside.nonzero(as_tuple=True)
        scores[rows, columns[rows, positions]] = -torch.inf

        chosen = _top_columns(scores, min(n, scores.shape[1]))
        # earlier tiles hold smaller ids: a stable sort of the joined lists keeps ties in ascending order
        best_ids = torch.cat([best_ids, chosen + 1 + first], dim=1)
        best_scores = torch.cat([best_scores, scores.gather(1, chosen)], dim=1)
        order = best_scores.argsort(dim=1, descending=True, stable=True)[:, :n]
        best_ids, best_scores = best_ids.gather(1, order), best_scores.gather(1, order)
    return best_ids.masked_fill(best_scores == -torch.inf, 0), best_scores


def _top_columns(scores: Tensor, n: int) -> Tensor:
    """Return (b, n) ascending columns of the n highest of ``scores`` (b, w), the leftmost of equal ones."""
    # topk picks among ties as it likes: it only gives the threshold
    threshold = scores.topk(n, dim=1, sorted=False).values.amin(1, keepdim=True)
    above, tied = scores > threshold, scores == threshold
    room = n - above.sum(1, keepdim=True, dtype=torch.int32)
    chosen = above | (tied & (tied.cumsum(1, dtype=torch.int32) <= room))
    return chosen.nonzero()[:, 1].view(-1, n)

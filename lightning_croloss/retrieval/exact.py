"""Exact ranks of targets and exact top-N, over the whole catalogue in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.retrieval.tiles import ScoreTiles, check_ids, locate


def target_ranks(
    users: Tensor,
    item_matrix: Tensor,
    targets: Tensor,
    *,
    excluded: Tensor | None = None,
    tile_elements: int = 2**24,
) -> Tensor:
    """Rank each target among all items of the catalogue.

    The rank is 1 + the number of other candidates whose score is not below the target's: ties count against
    the target, and so does NaN on either side, so that a constant or diverged model gets the worst rank. The
    user's other targets stay candidates. A target is told from its rivals by its id, and its score is taken
    from the same matrix product as theirs. Memory stays within a small multiple of ``tile_elements``; where
    the scores of enough whole rows do not fit, item tiles are computed twice: for the targets' scores, then
    for the counts. Autocast does not apply.

    Args:
        users: (B, K, D) user representations; the score of an item is the maximum over the K interests.
        item_matrix: (N, D); row i is item id i + 1.
        targets: (B, T) item ids, 0 = padding.
        excluded: (B, E) ids that are no candidates, the history for example, 0 = padding. A target that is
            itself excluded keeps its score, but rivals no other target.
        tile_elements: the most scores (rows × K × items) to hold at a time.

    Returns:
        (B, T) int64 ranks, 1 … N; 0 for padding.

    Raises:
        ValueError: if a shape does not fit, an id is outside 0 … N, or ``tile_elements`` is below 1.
        TypeError: if ids are no integers.
    """
    with torch.no_grad():
        tiles = ScoreTiles(users, item_matrix, tile_elements)
        targets = check_ids("targets", targets, users.shape[0], tiles.num_items)
        excluded = _checked_excluded(excluded, users, tiles.num_items)
        ranks = torch.zeros_like(targets)
        for block in tiles.blocks():
            ranks[block] = _block_ranks(tiles, block, targets[block], _without_repeats(excluded[block]))
        return ranks


def _block_ranks(tiles: ScoreTiles, block: slice, targets: Tensor, excluded: Tensor) -> Tensor:
    """Return (b, T) ranks of a block's targets; ``excluded`` (b, E) holds no id twice."""
    kept = list(tiles.scores(block)) if tiles.whole_rows else None

    target_scores = torch.zeros_like(targets, dtype=tiles.dtype)
    for first, scores in kept or tiles.scores(block):
        inside, columns = locate(targets, first, scores.shape[1])
        target_scores = torch.where(inside, scores.gather(1, columns), target_scores)

    # users have very different numbers of targets: a column visits only the rows that have a target there
    ranks = (targets > 0).long()
    rows_of_column = [column.nonzero().squeeze(1) for column in ranks.unbind(1)]
    for first, scores in kept or tiles.scores(block):
        for column, rows in enumerate(rows_of_column):
            if len(rows) == 0:
                continue
            whole = len(rows) == len(targets)
            ranks[rows, column] += _rivals(
                scores if whole else scores[rows],
                target_scores[rows, column, None],
                first,
                targets[rows, column, None],
                excluded[rows],
            )
    return ranks


def _rivals(scores: Tensor, target_score: Tensor, first: int, target: Tensor, excluded: Tensor) -> Tensor:
    """Count the rivals in a tile that are not below the target.

    Args:
        scores: (b, w) scores of the tile's items.
        target_score: (b, 1) scores of the targets.
        first: number of items before the tile.
        target: (b, 1) ids of the targets.
        excluded: (b, E) ids of no candidates, each once.

    Returns:
        (b,) int64 counts.
    """
    below = (scores < target_score).sum(1, dtype=torch.int32)  # three times faster than int64
    # the target and the excluded were counted too: take them out again, by id
    outside = torch.cat([target, excluded.masked_fill(excluded == target, 0)], dim=1)
    inside, columns = locate(outside, first, scores.shape[1])
    overcounted = inside & ~(scores.gather(1, columns) < target_score)
    return scores.shape[1] - below.long() - overcounted.sum(1)


def top_items(
    users: Tensor,
    item_matrix: Tensor,
    n: int,
    *,
    excluded: Tensor | None = None,
    tile_elements: int = 2**24,
) -> tuple[Tensor, Tensor]:
    """Find the n items of highest score for each user.

    Args:
        users: (B, K, D) user representations; the score of an item is the maximum over the K interests.
        item_matrix: (N, D); row i is item id i + 1.
        n: how many items, 1 … N.
        excluded: (B, E) ids never to be returned, the history for example, 0 = padding.
        tile_elements: the most scores (rows × K × items) to hold at a time, beside the result.

    Returns:
        (B, n) int64 ids and (B, n) scores, by descending score, equal scores by ascending id. Where fewer
        than n candidates are left, the row ends in ids 0 with scores -inf. A score of NaN or -inf ranks
        last and is returned as the lowest finite number.

    Raises:
        ValueError: if n is not in 1 … N, a shape does not fit, an id is outside 0 … N, or ``tile_elements``
            is below 1.
        TypeError: if ids are no integers.
    """
    with torch.no_grad():
        tiles = ScoreTiles(users, item_matrix, tile_elements)
        if not 1 <= n <= tiles.num_items:
            raise ValueError(
                f"n must be in 1 … {tiles.num_items}, the number of items, got {n}: choose how many to return"
            )
        excluded = _checked_excluded(excluded, users, tiles.num_items)
        ids = torch.zeros(users.shape[0], n, dtype=torch.int64, device=users.device)
        scores = torch.full_like(ids, -torch.inf, dtype=tiles.dtype)
        for block in tiles.blocks():
            ids[block], scores[block] = _block_top(tiles, block, n, excluded[block])
        return ids, scores


def _block_top(tiles: ScoreTiles, block: slice, n: int, excluded: Tensor) -> tuple[Tensor, Tensor]:
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


def _checked_excluded(excluded: Tensor | None, users: Tensor, num_items: int) -> Tensor:
    if excluded is None:
        return torch.zeros(users.shape[0], 0, dtype=torch.int64, device=users.device)
    return check_ids("excluded", excluded, users.shape[0], num_items)


def _without_repeats(ids: Tensor) -> Tensor:
    """Return (b, X) ids with every repetition within a row replaced by 0, in another order."""
    ordered = ids.sort(dim=1).values
    repeated = ordered[:, 1:] == ordered[:, :-1]
    ordered[:, 1:].masked_fill_(repeated, 0)
    return ordered

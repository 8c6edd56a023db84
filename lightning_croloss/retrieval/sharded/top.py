"""Exact top-N over a catalogue in shards: the best of each shard, merged."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from croloss_serving.common.list_length import check_n
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.retrieval.arguments import check_tile_elements, check_vectors
from lightning_croloss.retrieval.exact import block_top
from lightning_croloss.retrieval.exact import top_items as top_items_of_one_process
from lightning_croloss.retrieval.ids import checked_excluded
from lightning_croloss.retrieval.sharded.item_shards import ItemShards
from lightning_croloss.retrieval.sharded.rounds import Round, Rounds
from lightning_croloss.retrieval.tiles import ScoreTiles


@uncompiled  # exactness rests on the kernels called here
def top_items(
    users: Tensor,
    item_matrix: Tensor,
    n: int,
    shards: ItemShards,
    *,
    excluded: Tensor | None = None,
    tile_elements: int = 2**24,
) -> tuple[Tensor, Tensor]:
    """Find the n items of highest score for each user among those of all processes.

    All processes call it together, with the same n. The users of all are gathered, each process finds the
    best of its own items for them, and the lists are sent back to the users' process, which merges them.

    Args:
        users: (B, K, D) representations of this process's users, perhaps none.
        item_matrix: (r, D) the items of this process, by ascending ids, without the row of padding.
        n: how many items, 1 … N.
        shards: which process holds which items.
        excluded: (B, E) ids that are never returned, such as the history; 0 = padding.
        tile_elements: the most scores (rows × K × items) to hold at a time, and the most numbers of gathered
            users and their lists.

    Returns:
        (B, n) int64 ids and (B, n) scores of this process's users, as ``retrieval.top_items`` returns them.

    Raises:
        ValueError: if n is not in 1 … N, a shape does not fit, an id is not that of an item, the processes
            have vectors of different shapes, or ``tile_elements`` is below 1.
        TypeError: if ids or ``tile_elements`` are not integers, or vectors not floating-point numbers.
    """
    check_vectors(users, item_matrix)
    check_tile_elements(tile_elements)
    shards.check(item_matrix)
    if len(shards.sizes) == 1:
        return top_items_of_one_process(users, item_matrix, n, excluded=excluded, tile_elements=tile_elements)
    with torch.no_grad():
        check_n(n, shards.num_items)
        excluded = checked_excluded(excluded, users, shards.num_items)
        width = min(n, shards.largest)
        rounds = Rounds(users, [excluded], item_matrix, tile_elements, besides=4 * width)
        planned = users.new_zeros(1, 1, 1).expand(rounds.largest, *users.shape[1:])
        tiles = ScoreTiles(planned, item_matrix, tile_elements, planned_items=shards.largest)
        ids = torch.zeros(users.shape[0], n, dtype=torch.int64, device=users.device)
        scores = torch.full_like(ids, -torch.inf, dtype=tiles.dtype)
        for part in rounds:
            found = _own_top(tiles.of(part.users), part, width, shards)
            ids[part.rows], scores[part.rows] = _merged(*found, part, n)
        return ids, scores


def _own_top(tiles: ScoreTiles, part: Round, width: int, shards: ItemShards) -> tuple[Tensor, Tensor]:
    """Return (G, width) ids and (G, width) scores of the best of this process's items, filled up by 0, −∞."""
    excluded = shards.local(part.ids[0])
    ids = torch.zeros(len(part.users), width, dtype=torch.int64, device=excluded.device)
    scores = torch.full_like(ids, -torch.inf, dtype=tiles.dtype)
    own = min(width, shards.num_own)
    if own:
        for block in tiles.blocks():
            ids[block, :own], scores[block, :own] = block_top(tiles, block, own, excluded[block])
    return ids.where(ids == 0, ids + shards.before), scores


def _merged(ids: Tensor, scores: Tensor, part: Round, n: int) -> tuple[Tensor, Tensor]:
    """Send each process the lists of its users, and return the n best (b, n) of those of this process."""
    every_list = [_exchanged(kind, part) for kind in (ids, scores)]
    # the shards hold ascending ids: a stable sort of the joined lists keeps ties in ascending order
    order = every_list[1].argsort(dim=1, descending=True, stable=True)[:, :n]
    return every_list[0].gather(1, order), every_list[1].gather(1, order)


def _exchanged(lists: Tensor, part: Round) -> Tensor:
    """Return (b, W · width): of this process's users the lists (G, width) of all W processes, joined."""
    own, processes = part.counts[part.rank], len(part.counts)
    received = lists.new_empty(own * processes, lists.shape[1])
    distributed.all_to_all_single(received, lists.contiguous(), [own] * processes, part.counts)
    width = lists.shape[1]
    return received.view(processes, own, width).transpose(0, 1).reshape(own, processes * width)

"""Exact ranks of targets over a catalogue in shards: each process counts among its own items."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, distributed

from lightning_croloss.common.repeats import without_repeats
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.retrieval.arguments import check_tile_elements, check_vectors
from lightning_croloss.retrieval.counting import count, excluded_rivals, same
from lightning_croloss.retrieval.ids import check_ids, checked_excluded, warn_of_ids_from_0
from lightning_croloss.retrieval.pairs import Pairs
from lightning_croloss.retrieval.ranks import deliverable, tiles_for_counting
from lightning_croloss.retrieval.ranks import target_ranks as ranks_of_one_process
from lightning_croloss.retrieval.sharded.item_shards import ItemShards
from lightning_croloss.retrieval.sharded.rounds import Round, Rounds
from lightning_croloss.retrieval.tiles import ScoreTiles


@uncompiled  # exactness rests on the kernels called here
def target_ranks(
    users: Tensor,
    item_matrix: Tensor,
    targets: Tensor,
    shards: ItemShards,
    *,
    excluded: Tensor | None = None,
    tile_elements: int = 2**24,
) -> Tensor:
    """Rank each target among the items of all processes, as ``retrieval.target_ranks`` does in one.

    All processes call it together. The users of all are gathered, at most ``tile_elements`` numbers of them
    at a time; the score of a target is computed by the process that holds the item; each process counts the
    items of its own that are not below; the counts are summed. Memory stays within a small multiple of
    ``tile_elements`` beside the arguments.

    Ranks are those of one process but where float32 rounds two different items to scores that differ in the
    last bit in one of the two cases and are equal in the other.

    Args:
        users: (B, K, D) representations of this process's users, perhaps none; the score of an item is the
            maximum over the K interests.
        item_matrix: (n, D) the items of this process, by ascending ids, without the row of padding.
        targets: (B, T) item ids of the whole catalogue, 0 = padding.
        shards: which process holds which items.
        excluded: (B, E) ids that are not candidates, such as the history; 0 = padding.
        tile_elements: the most scores (rows × K × items) to hold at a time, and the most numbers of gathered
            users.

    Returns:
        (B, T) int64 ranks of this process's users' targets, see ``retrieval.target_ranks``.

    Raises:
        ValueError: a shape does not fit, an id is not that of an item, the processes have vectors of
            different shapes, or ``tile_elements`` is below 1.
        TypeError: if ids or ``tile_elements`` are not integers, or vectors not floating-point numbers.
    """
    check_vectors(users, item_matrix)
    check_tile_elements(tile_elements)
    shards.check(item_matrix)
    if len(shards.sizes) == 1:
        return ranks_of_one_process(
            users, item_matrix, targets, excluded=excluded, tile_elements=tile_elements
        )
    with torch.no_grad():
        targets = check_ids("targets", targets, users.shape[0], shards.num_items)
        excluded = checked_excluded(excluded, users, shards.num_items)
        warn_of_ids_from_0(targets, shards.num_items)
        wanted, barred = without_repeats(targets), without_repeats(excluded)
        wanted, ranks = deliverable(wanted, barred, shards.num_items)
        rounds = Rounds(users, [wanted, barred], item_matrix, tile_elements)
        # planned for as many users and items in each process, whose scores are then of the same kernels
        planned = users.new_zeros(1, 1, 1).expand(rounds.largest, *users.shape[1:])
        tiles = tiles_for_counting(planned, item_matrix, tile_elements, shards.largest)
        for part in rounds:
            found = _Counting(tiles.of(part.users), part, shards).ranks()
            ranks[part.rows] += found[:, : ranks.shape[1]]
        return ranks


class _Counting:
    """The ranks of a round's targets."""

    def __init__(self, tiles: ScoreTiles, part: Round, shards: ItemShards) -> None:
        self._tiles = tiles
        self._part = part
        self._targets, excluded = part.ids
        self._pairs = Pairs.of(self._targets)
        self._excluded = shards.local(excluded)
        numbers = shards.local(self._pairs.ids)
        self._numbers, self._is_own = numbers, numbers > 0

    def ranks(self) -> Tensor:
        """Return (b, T) those of this process's users, 0 where there is no target."""
        scores = self._of_owners(self._scores_of_pairs())
        found, own = self._count(scores)
        differs = torch.tensor([0 if same(scores[self._is_own], own) else 1], device=found.device)
        found = torch.cat([found, differs])
        distributed.all_reduce(found)
        if found[-1] > 0:
            # different kernels computed the pairs and the tiles: take the scores of the tiles
            found, _ = self._count(self._of_owners(own))
            distributed.all_reduce(found)
        ranks = torch.zeros_like(self._targets)
        ranks[self._pairs.rows, self._pairs.columns] = found[: len(self._pairs.rows)]
        return ranks[self._part.own]

    def _scores_of_pairs(self) -> Tensor:
        """Return the scores of the targets that are items of this process."""
        # one tensor for all blocks, see counting._Picked
        found = self._zeros()
        for block, pairs in self._blocks():
            own, rows, numbers = self._is_own[pairs], self._pairs.rows[pairs], self._numbers[pairs]
            if own.any():
                rows = rows[own] - block.start
                found[pairs][own] = self._tiles.scores_of_pairs(block, rows, numbers[own])
        return found[self._is_own]

    def _of_owners(self, own: Tensor) -> Tensor:
        """Return (P,) the scores of all targets, each from the process that holds the item."""
        # the sum of a score and zeros is that score; gloo does not add all of the narrow dtypes
        wide = torch.float32 if own.element_size() < 4 else own.dtype
        scores = torch.zeros(len(self._pairs.rows), dtype=wide, device=own.device)
        scores[self._is_own] = own.to(wide)
        distributed.all_reduce(scores)
        return scores.to(own.dtype)

    def _count(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return (P,) how many own items are rivals of each, and the scores of own targets in the tiles."""
        found, owns = torch.zeros_like(self._pairs.ids), self._zeros()
        for block, part in self._blocks():
            if part.start == part.stop:
                continue
            pairs = Pairs(
                self._pairs.rows[part] - block.start, self._pairs.columns[part], self._pairs.ids[part]
            )
            is_own = self._is_own[part]
            own = Pairs(pairs.rows[is_own], pairs.columns[is_own], self._numbers[part][is_own])
            excluded = self._excluded[block]
            rivals = Pairs.of(excluded)
            shape = self._targets[block].shape
            below, of_own, theirs = count(self._tiles.scores(block), scores[part], pairs, own, rivals, shape)
            barred = excluded_rivals(scores[part], pairs, excluded, rivals, theirs, self._tiles.rows)
            found[part] = self._tiles.num_items - below - barred
            owns[part][is_own] = of_own
        return found, owns[self._is_own]

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Yield the blocks of users with their pairs."""
        for block in self._tiles.blocks():
            bounds = torch.tensor([block.start, block.stop], device=self._pairs.rows.device)
            start, stop = torch.searchsorted(self._pairs.rows, bounds).tolist()
            yield block, slice(start, stop)

    def _zeros(self) -> Tensor:
        """Return (P,) what becomes the scores of targets."""
        return torch.zeros(len(self._pairs.ids), dtype=self._tiles.dtype, device=self._targets.device)

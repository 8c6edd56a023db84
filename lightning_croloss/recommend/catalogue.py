"""Catalogue: the vectors of a model's items, here or in shards of several processes, to be searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.retrieval import sharded, target_ranks, top_items
from lightning_croloss.retrieval.sharded import ItemShards
from lightning_croloss.sharding.row_shards import RowShards


class ItemEncoder(Protocol):
    """What of a model is needed here."""

    @property
    def item_shards(self) -> RowShards | None:
        """Which process holds which rows of the items; None if all are here."""

    def encode_catalogue(self) -> Tensor:
        """Return the vectors of all items, over shards of its own ones, (n, D)."""


@dataclass(frozen=True)
class Catalogue:
    """Items that were encoded once, and how to search them.

    Where they lie in shards, each method but the properties is called by all processes together.

    Attributes:
        matrix: (n, D) the items of this process, by ascending ids.
        shards: which process holds which of them; None if all are here.
    """

    matrix: Tensor
    shards: ItemShards | None = None

    @classmethod
    def of(cls, model: ItemEncoder) -> Catalogue:
        """Encode the items of a model, which must be in evaluation mode."""
        matrix, shards = model.encode_catalogue(), model.item_shards
        return cls(matrix, None if shards is None else ItemShards.of(shards))

    @property
    def num_items(self) -> int:
        """Number of items of all processes."""
        return len(self.matrix) if self.shards is None else self.shards.num_items

    def only(self, ids: Tensor) -> Catalogue:
        """Return a catalogue of some items, numbered from 1 in their order.

        Args:
            ids: (A,) distinct ids, ascending, the same in every process.
        """
        if self.shards is None:
            return Catalogue(self.matrix[ids - 1])
        own = self.shards.local(ids)
        return Catalogue(self.matrix[own[own > 0] - 1], self.shards.among(ids))

    def top(
        self, users: Tensor, n: int, excluded: Tensor | None, tile_elements: int
    ) -> tuple[Tensor, Tensor]:
        """Return the n best items, see ``retrieval.top_items``."""
        if self.shards is None:
            return top_items(users, self.matrix, n, excluded=excluded, tile_elements=tile_elements)
        return sharded.top_items(
            users, self.matrix, n, self.shards, excluded=excluded, tile_elements=tile_elements
        )

    def ranks(self, users: Tensor, targets: Tensor, excluded: Tensor | None, tile_elements: int) -> Tensor:
        """Return the ranks of targets, see ``retrieval.target_ranks``."""
        if self.shards is None:
            return target_ranks(users, self.matrix, targets, excluded=excluded, tile_elements=tile_elements)
        return sharded.target_ranks(
            users, self.matrix, targets, self.shards, excluded=excluded, tile_elements=tile_elements
        )

    def vectors(self, ids: Tensor) -> Tensor:
        """Return the vectors (B, D) of some items (B,); those of 0 are of no use."""
        if self.shards is None:
            return self.matrix[(ids - 1).clamp(min=0)]
        return sharded.item_vectors(ids, self.matrix, self.shards)

    def calls(self, number: int) -> int:
        """Return how often this process must call: over shards as often as that which has the most to ask."""
        several = self.shards is not None and len(self.shards.sizes) > 1
        return sharded.largest(number, self.matrix.device) if several else number

    def pieces(self, batch: RetrievalBatch) -> Iterator[tuple[slice, RetrievalBatch]]:
        """Yield the pieces of a batch, over shards as many in each process, the last ones without rows."""
        if self.shards is None:
            yield from batch.pieces()
            return
        rows = list(batch.rows_of_pieces())
        rows += [slice(0, 0)] * (self.calls(len(rows)) - len(rows))
        for part in rows:
            yield part, batch[part]

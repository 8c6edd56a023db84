"""The embeddings of the ids of items or users."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_croloss.sharding.deferred import DeferredEmbedding, defers_tables
from lightning_croloss.sharding.embedding import IdEmbedding, ShardedEmbedding
from lightning_croloss.sharding.padded import PaddedEmbedding


def id_embedding(num_ids: int, dim: int) -> nn.Embedding:
    """Return a table of a vector for each id of 1 … num_ids, of length about 1, and of zeros for id 0.

    Args:
        num_ids: number of items or users.
        dim: width D.
    """
    return id_embeddings(num_ids, dim=dim)[0]


def id_embeddings(*numbers: int, dim: int) -> list[nn.Embedding]:
    """Return a table for each number of ids; inside of ``deferred_tables`` they have no memory yet."""
    if defers_tables():
        deferred = [DeferredEmbedding(number + 1, dim) for number in numbers]
        for each in deferred:
            each.draw(dim**-0.5)
        return [*deferred]
    tables = [PaddedEmbedding(number + 1, dim) for number in numbers]
    for table in tables:
        draw_ids(table)
    return [*tables]


def draw_ids(table: nn.Embedding) -> None:
    """Draw the vectors of ids, of length about 1; the row of id 0 stays as it is."""
    nn.init.normal_(table.weight[1:], std=table.embedding_dim**-0.5)


def rows_of_ids(table: IdEmbedding) -> Tensor:
    """Return the rows of all ids from 1 on, (ids, D); over shards those of this process."""
    return table.own_items() if isinstance(table, ShardedEmbedding) else table.weight[1:]

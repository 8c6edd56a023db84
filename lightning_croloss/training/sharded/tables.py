"""The tables of ids of a model, and how they come into shards."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.parallel.distributed import DistributedDataParallel

from lightning_croloss.sharding.deferred import DeferredEmbedding
from lightning_croloss.sharding.embedding import ShardedEmbedding
from lightning_croloss.sharding.row_shards import RowShards

#: Attributes of a model that hold its tables of ids.
TABLES = ("item_embedding", "user_embedding")


def tables_of(model: LightningModule) -> dict[str, nn.Module]:
    """Return the tables of ids of a model, by the names of their attributes."""
    found = {name: getattr(model, name, None) for name in TABLES}
    return {name: table for name, table in found.items() if table is not None}


def shard_tables(model: Any, drawn: bool = True) -> None:
    """Leave to each process its rows of the tables of ids; every process calls it, on the same model.

    The loss of a batch is from then on that of the rows of all processes.

    Args:
        model: the model.
        drawn: whether tables without memory get the rows that a new model has; else they stay so, for rows
            that are read.

    Raises:
        ValueError: a table has fewer rows than there are processes.
    """
    for name, table in tables_of(model).items():
        if isinstance(table, ShardedEmbedding):
            continue
        shards = _shards_of(name, table)
        if isinstance(table, DeferredEmbedding):
            setattr(model, name, table.made(shards) if drawn else table.described(shards))
        elif shards.num_shards > 1:
            assert isinstance(table, nn.Embedding)
            setattr(model, name, ShardedEmbedding.from_whole(table, shards))
    weights = [f"{name}.weight" for name in shards_of(model)]
    model.loss.across_processes = bool(weights)
    # the gradients of rows that are here alone are nobody else's
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, weights)


def refuse_more_processes(model: LightningModule, processes: int) -> None:
    """Raise ``ValueError`` if a table has fewer rows than there will be processes, which have not met yet."""
    for name, table in tables_of(model).items():
        if processes > (rows := getattr(table, "num_embeddings", processes)):
            raise _too_many(name, rows)


def shards_of(model: LightningModule) -> dict[str, RowShards]:
    """Return which rows are whose of the tables of a model that lie in shards, by their attributes' names."""
    return {
        name: table.shards
        for name, table in tables_of(model).items()
        if isinstance(table, ShardedEmbedding) and table.shards.num_shards > 1
    }


def weights_of(model: Any) -> dict[str, Tensor]:
    """Return this process's rows of the tables of a model that lie in shards, by their attributes' names."""
    return {name: getattr(model, name).weight for name in shards_of(model)}


def _shards_of(name: str, table: Any) -> RowShards:
    rows = table.num_embeddings
    try:
        return RowShards.here(rows)
    except ValueError:
        raise _too_many(name, rows) from None


def _too_many(name: str, rows: int) -> ValueError:
    kind = name.partition("_")[0]
    return ValueError(
        f"cannot spread the table of {rows - 1:,} {kind}s over more processes than it has rows, "
        f"{rows:,}: give devices a smaller number"
    )

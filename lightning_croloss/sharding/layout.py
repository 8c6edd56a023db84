"""The rows of this process as part of the whole: as a ``DTensor``, or gathered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

from lightning_croloss.sharding.messages import gathered_rows
from lightning_croloss.sharding.row_shards import RowShards

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


def as_dtensor(own: Tensor, shards: RowShards, mesh: DeviceMesh | None = None) -> DTensor:
    """Return the table of which ``own`` (own rows, …) is this process's part, without copying or talking.

    ``torch.distributed.checkpoint`` saves it from any number of processes and loads it, in place, into any
    other. So it does the state of an optimizer that has one entry for each row.

    Args:
        own: a weight, its moments, the last step of each row.
        shards: of the table.
        mesh: of one dimension, the processes of the shards in their order. None = one of the whole world.

    Raises:
        ValueError: ``own`` has not as many rows as this process holds.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    if len(own) != shards.num_own:
        raise ValueError(f"this process holds {shards.num_own:,} rows of the table, got {len(own):,}")
    shape = torch.Size((shards.num_rows, *own.shape[1:]))
    if mesh is None:
        mesh = init_device_mesh(own.device.type, (shards.num_shards,))
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(own.detach(), mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)


@torch.no_grad()
def whole_table(own: Tensor, shards: RowShards, to: int | None = None) -> Tensor | None:
    """Return a copy of all rows, (rows, …); every process must call it.

    Args:
        own: (own rows, …).
        shards: of the table.
        to: the process that gets them, None = all. The others return None.
    """
    if shards.num_shards == 1:
        return own.detach().clone()
    if to is None:
        return gathered_rows(own, list(shards.sizes))
    padded = own.new_zeros(shards.rows_per_shard, *own.shape[1:])
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in shards.sizes] if shards.rank == to else None
    distributed.gather(padded, parts, dst=to)
    return None if parts is None else torch.cat(parts)[: shards.num_rows]


@torch.no_grad()
def blocks_of_table(own: Tensor, shards: RowShards, rows: int = 2**16) -> Iterator[Tensor]:
    """Yield all rows in their order, some at a time, on the first process, and nothing on the others.

    Every process must call it, and go through it. No process ever holds more than its own rows and a block.

    Args:
        own: (own rows, …).
        shards: of the table.
        rows: the most of a block.
    """
    for rank, number in enumerate(shards.sizes):
        for start in range(0, number, rows):
            stop = min(start + rows, number)
            if rank == shards.rank:
                block = own[start:stop].detach().contiguous()
                if rank != 0:
                    distributed.send(block, dst=0)
            elif shards.rank == 0:
                block = own.new_empty(stop - start, *own.shape[1:])
                distributed.recv(block, src=rank)
            if shards.rank == 0:
                yield block

"""RowShards: which process holds which rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from lightning_croloss.common.checks import check_counts


@dataclass(frozen=True)
class RowShards:
    """Rows 0 … num_rows − 1 in consecutive shards, one a process.

    Shards are as ``torch.chunk`` and DTensor's ``Shard(0)`` cut a tensor: all of one size but the last that
    has any rows, which may have fewer, and those after it, which have none.

    Args:
        num_rows: rows of the whole table.
        num_shards: number of processes.
        rank: number of this process, from 0 on.

    Raises:
        ValueError: there are more processes than rows, or a number is out of range.
    """

    num_rows: int
    num_shards: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        check_counts(num_rows=self.num_rows, num_shards=self.num_shards)
        if not 0 <= self.rank < self.num_shards:
            raise ValueError(f"rank must be in 0 … {self.num_shards - 1}, got {self.rank}")
        if self.num_shards > self.num_rows:
            raise ValueError(
                f"a table of {self.num_rows:,} rows cannot lie in {self.num_shards:,} shards: use "
                f"{self.num_rows:,} processes at most"
            )

    @classmethod
    def here(cls, num_rows: int) -> RowShards:
        """Return the shards of the processes of ``torch.distributed``; one if there are none."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls(num_rows)
        return cls(num_rows, distributed.get_world_size(), distributed.get_rank())

    @property
    def rows_per_shard(self) -> int:
        """Rows of every shard that is full."""
        return -(-self.num_rows // self.num_shards)

    @property
    def id_dtype(self) -> torch.dtype:
        """The smallest type that holds all ids of a table that may be large."""
        return torch.int32 if self.num_rows < 2**31 else torch.int64

    @property
    def start(self) -> int:
        """The first row of this process."""
        return self.start_of(self.rank)

    @property
    def stop(self) -> int:
        """The row after the last of this process."""
        return self.start_of(self.rank + 1)

    @property
    def num_own(self) -> int:
        """Number of rows of this process."""
        return self.stop - self.start

    @property
    def own_items(self) -> range:
        """The rows of this process but row 0, which is padding in a table of items."""
        return range(min(max(self.start, 1), self.stop), self.stop)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of rows of each process."""
        return tuple(self.start_of(rank + 1) - self.start_of(rank) for rank in range(self.num_shards))

    def start_of(self, rank: int) -> int:
        """Return the first row of a process."""
        return min(self.num_rows, rank * self.rows_per_shard)

    def owners(self, rows: Tensor) -> Tensor:
        """Return the process that holds each row, of the shape of ``rows``."""
        return rows.div(self.rows_per_shard, rounding_mode="floor")

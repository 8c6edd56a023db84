"""OwnRowsLoader: a loader where each process has rows of its own, as many as its users have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from lightning_croloss.data.grouping import grouped_by_width
from lightning_croloss.data.loader import BatchLoader, Rows
from lightning_croloss.errors import DataError

T = TypeVar("T")

#: A batch of evaluation is at most so many times as large as asked for, where one process has few rows.
LARGEST = 4


class OwnRowsLoader(BatchLoader):
    """Iterable over the rows of one process, with as many batches as every other one has.

    In training all processes see as many rows as the one that has the fewest, in batches of the same sizes;
    of the others other rows are left out in each epoch, by seed, epoch and process. In evaluation nothing is
    left out or repeated: the batches of a process with fewer rows are smaller.

    The position counts rows over all processes together. In the middle of an epoch it is good for the same
    number of processes alone, since others would have other rows.

    Args:
        dataset: the rows of this process.
        batch_size: rows of a batch in this process.
        shuffle: whether to permute the rows again in each epoch.
        seed: seed of the permutations.
        rank: number of this process.
        sizes: number of rows of each process.
        **options: further arguments of :class:`BatchLoader`; grouped by length are the rows of a batch.
    """

    def __init__(
        self,
        dataset: Rows,
        batch_size: int,
        shuffle: bool,
        seed: int,
        rank: int,
        sizes: Sequence[int],
        **options: Any,
    ) -> None:
        super().__init__(dataset, batch_size, shuffle, seed, rank, len(sizes), **options)
        self.sizes = tuple(sizes)

    @property
    def rows_of_the_epoch(self) -> int:
        """Number of rows of an epoch that all processes together see."""
        return min(self.sizes) * self.world_size if self.shuffle else sum(self.sizes)

    @property
    def num_rows(self) -> int:
        """Number of rows that this process sees in an epoch."""
        return min(self.sizes) if self.shuffle else len(self.dataset)

    @property
    def processes(self) -> int:
        """Number of processes, each of which has rows of its own."""
        return self.world_size

    def _pieces(self, begin: int) -> Sequence[Tensor]:
        if not self.shuffle:
            batches = whole_batches(self.sizes, self.batch_size)
            order = torch.arange(len(self.dataset))
            starts = [number * len(order) // batches for number in range(batches + 1)]
            done = batches - self._batches(self.rows_of_the_epoch - begin)
            return [order[starts[number] : starts[number + 1]] for number in range(done, batches)]
        mine = self._order(self._epoch)[begin // self.world_size : self.num_rows]
        return self._divided(mine, self.rows_of_the_epoch - begin)

    def _batches(self, rows: int) -> int:
        if self.shuffle:
            return super()._batches(rows)
        done = (self.rows_of_the_epoch - rows) // self.rows_of_a_step
        return whole_batches(self.sizes, self.batch_size) - done if rows else 0

    def _order(self, epoch: int) -> Tensor:
        """Return the rows of this process in the order of ``epoch``; those that it leaves out come last."""
        if not self.shuffle:
            return torch.arange(len(self.dataset))
        seed = (self.seed * 1_000_003 + epoch) * 1_000_003 + self.rank
        generator = torch.Generator().manual_seed(seed % 2**63)
        order = torch.randperm(len(self.dataset), generator=generator)
        if not self._group:
            return order
        kept = order[: self.num_rows]
        return grouped_by_width(kept, self.dataset.widths, self._group // self.world_size, generator)


def whole_batches(sizes: Sequence[int], batch_size: int) -> int:
    """Return the number of batches of evaluation, which the largest share needs and the smallest fills."""
    return min(-(-max(sizes) // batch_size), min(sizes))


def said_by_all(value: T) -> list[T]:
    """Return the value of each process, the same list on every process, which all ask at once."""
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def check_rows(sizes: Sequence[int], purpose: str, batch_size: int) -> None:
    """Refuse shares that are too unlike, in all processes alike.

    Args:
        sizes: number of rows of each process.
        purpose: what they are for, as errors call it.
        batch_size: rows of a batch.

    Raises:
        DataError: a process has no rows, or so few that the batches of others would be far too large.
    """
    few, many = min(sizes), max(sizes)
    advice = "use fewer devices, or divide the table into more partitions"
    if few == 0:
        raise DataError(f"{purpose} has no rows in process {sizes.index(0)} of {len(sizes)}: {advice}")
    if -(-many // whole_batches(sizes, batch_size)) > LARGEST * batch_size:
        raise DataError(
            f"{purpose} has {few} rows in one process and {many} in another, too unlike to be measured in as "
            f"many batches: {advice}"
        )

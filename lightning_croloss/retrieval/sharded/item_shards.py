"""ItemShards: which process holds which items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.sharding.row_shards import RowShards


@dataclass(frozen=True)
class ItemShards:
    """Items 1 … num_items in consecutive shards, one a process, of any sizes.

    Args:
        sizes: the number of items of each process, 0 too.
        rank: number of this process.
    """

    sizes: tuple[int, ...]
    rank: int = 0

    @classmethod
    def of(cls, shards: RowShards) -> ItemShards:
        """Return the items of a table in shards, whose row 0 is padding and row i item i."""
        first, *others = shards.sizes
        return cls((first - 1, *others), shards.rank)

    @property
    def num_items(self) -> int:
        """Number of items of all processes."""
        return sum(self.sizes)

    @property
    def before(self) -> int:
        """Number of items before the first of this process: row i of its items is item before + i + 1."""
        return sum(self.sizes[: self.rank])

    @property
    def num_own(self) -> int:
        """Number of items of this process."""
        return self.sizes[self.rank]

    @property
    def largest(self) -> int:
        """The most items of a process."""
        return max(self.sizes)

    def among(self, ids: Tensor) -> ItemShards:
        """Return the shards of some items alone, in ascending order: number i is then ``ids[i - 1]``.

        Args:
            ids: (A,) distinct ids, ascending, the same in every process.
        """
        ends = torch.tensor(self.sizes, device="cpu").cumsum(0)
        counts = torch.searchsorted(ids.cpu(), ends, right=True).diff(
            prepend=torch.zeros(1, dtype=torch.long, device="cpu")
        )
        return ItemShards(tuple(counts.tolist()), self.rank)

    def local(self, ids: Tensor) -> Tensor:
        """Return item ids as numbers of this process's items from 1; 0 for items of others, and padding."""
        numbers = ids - self.before
        return numbers.masked_fill((numbers < 0) | (numbers > self.num_own), 0)

    def check(self, item_rows: Tensor) -> None:
        """Raise ``ValueError`` unless there is a row for each item of this process."""
        if item_rows.ndim != 2 or len(item_rows) != self.num_own:
            raise ValueError(
                f"item_matrix must have shape ({self.num_own}, D), a row for each item of process "
                f"{self.rank}, got {tuple(item_rows.shape)}: pass this process's items only, "
                "without the row of padding"
            )

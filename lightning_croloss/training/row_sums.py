"""Row-sparse gradients with what is said of one row added up: each row once, or wherever it comes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_croloss.common.equal_ids import EqualIds


class RowSums(NamedTuple):
    """A row-sparse gradient of which each entry knows the sum of its row.

    Attributes:
        rows: (n,) rows of the table, ascending.
        values: (n, …) the gradient of each entry's row, the same for all entries of a row.
        is_first: (n,) bool, which entry is the first of its row; None = no row comes twice.
    """

    rows: Tensor
    values: Tensor
    is_first: Tensor | None

    @classmethod
    def of(cls, gradient: Tensor) -> RowSums:
        """Add up a sparse gradient.

        On a CPU it is coalesced. How many distinct rows there are would have to be waited for elsewhere: an
        entry stays for each time that a row was looked up, and what is done with it is done as often, to the
        same effect. The order of the sums is that of the entries, so that they are the same in each run.

        Args:
            gradient: sparse, (N, …) with one sparse dimension.
        """
        if gradient.device.type == "cpu" or gradient.is_coalesced():
            gradient = gradient.coalesce()
            return cls(gradient.indices()[0], gradient.values(), None)
        return cls._of_entries(gradient._indices()[0], gradient._values())

    @classmethod
    def _of_entries(cls, rows: Tensor, values: Tensor) -> RowSums:
        """Add up values (n, …) of rows (n,)."""
        equal = EqualIds.of(rows)
        sums = equal.sums(values.to(torch.promote_types(values.dtype, torch.float32)))
        return cls(equal.ids, sums.to(values.dtype), equal.is_first)

    def each_once(self, like: Tensor) -> Tensor:
        """Return the sparse gradient (N, …) of which no row is said twice anything but 0.

        Args:
            like: the gradient that was added up.
        """
        values, once = self.values, self.is_first is None
        if self.is_first is not None:
            again = ~self.is_first.view(-1, *[1] * (values.dim() - 1))
            values = values.masked_fill(again, 0.0)
        return torch.sparse_coo_tensor(
            self.rows.unsqueeze(0), values, like.shape, check_invariants=False, is_coalesced=once
        )

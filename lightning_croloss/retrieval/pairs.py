"""Pairs of user and item, as ids padded with zeros hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

# A user with more targets is ranked by sorting the scores, instead of by counting for each target.
_HEAVY = 256


@dataclass(frozen=True)
class Pairs:
    """The real entries of (b, X) ids: rows, columns and ids, each (P,) and in the order of the rows.

    An id is the number of an item within the tiles that it is looked up in, from 1.
    """

    rows: Tensor
    columns: Tensor
    ids: Tensor

    @staticmethod
    def of(ids: Tensor) -> Pairs:
        """Return the entries of (b, X) ids that are not 0."""
        rows, columns = ids.nonzero(as_tuple=True)
        return Pairs(rows, columns, ids[rows, columns])

    def of_heavy_rows(self) -> Iterator[tuple[int, slice]]:
        """Yield the rows with so many entries that sorting pays, and which entries these are."""
        if len(self.rows) <= _HEAVY:
            return
        rows, counts = self.rows.unique_consecutive(return_counts=True)
        stop = counts.cumsum(0)
        for number in (counts > _HEAVY).nonzero().squeeze(1).tolist():
            end = int(stop[number])
            yield int(rows[number]), slice(end - int(counts[number]), end)

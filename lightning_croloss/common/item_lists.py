"""ItemLists: for each row a list of item ids, in the memory of their sum instead of rows × the longest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from croloss_serving.common import blocks

#: Padding that takes no more than this many times the memory of the lists follows their sum.
_WASTE = 4


class ItemLists:
    """A list of item ids for each of B rows; rows may share lists.

    Args:
        values: (S,) the ids of all lists, one list after the other; 0, where one has it, is padding.
        offsets: (U + 1,) list u is ``values[offsets[u]:offsets[u + 1]]``.
        rows: (B,) which list each row has; None: row i has list i.
    """

    def __init__(self, values: Tensor, offsets: Tensor, rows: Tensor | None = None) -> None:
        self.values = values
        self.offsets = offsets
        self.rows = torch.arange(len(offsets) - 1, device=offsets.device) if rows is None else rows

    @classmethod
    def of_ranges(cls, column: Tensor, begin: Tensor, stop: Tensor, rows: Tensor | None = None) -> ItemLists:
        """Return the lists ``column[begin[u]:stop[u]]``, for begin and stop (U,)."""
        lengths = stop - begin
        offsets = _offsets(lengths)
        starts = torch.repeat_interleave(begin - offsets[:-1], lengths)
        return cls(column[starts + torch.arange(len(starts), device=starts.device)], offsets, rows)

    @classmethod
    def of_padded(cls, ids: Tensor) -> ItemLists:
        """Return the lists of padded ids (B, E), 0 = padding."""
        real = ids != 0
        return cls(ids[real], _offsets(real.sum(1)))

    def __len__(self) -> int:
        """Return the number of rows B."""
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where the lists are."""
        return self.values.device

    def __getitem__(self, index: slice | Tensor) -> ItemLists:
        """Return some of the rows, with the same lists."""
        return ItemLists(self.values, self.offsets, self.rows[index])

    @property
    def lengths(self) -> Tensor:
        """(B,) number of ids of each row."""
        return self.offsets.diff()[self.rows]

    @property
    def list_of_value(self) -> Tensor:
        """(S,) number of the list that each value is in, ascending."""
        lists = torch.arange(len(self.offsets) - 1, device=self.offsets.device)
        # told the size, a device need not be asked for it
        return torch.repeat_interleave(lists, self.offsets.diff(), output_size=len(self.values))

    def first(self) -> Tensor:
        """Return the first id (B,) of each row, 0 where there is none."""
        if not len(self.values):
            return torch.zeros_like(self.rows)
        found = self.values[self.offsets[self.rows].clamp(max=len(self.values) - 1)]
        return found.where(self.lengths > 0, 0)

    def padded(self, left: bool = False) -> Tensor:
        """Return the ids as (B, E), padded with 0 on the right, or on the left."""
        lengths = self.lengths
        width = int(lengths.max()) if len(lengths) else 0
        index = torch.arange(width, device=lengths.device).unsqueeze(0)
        if left:
            index = index - (width - lengths).unsqueeze(1)
        inside = (index >= 0) & (index < lengths.unsqueeze(1))
        # outside positions may lie beyond the values: gather position 0 instead, then blank it
        position = (self.offsets[self.rows].unsqueeze(1) + index).where(inside, 0)
        return self.values[position].where(inside, 0) if len(self.values) else torch.zeros_like(position)

    def compact(self, left: bool = False) -> Tensor | ItemLists:
        """Return the ids padded, as :meth:`padded`, if they take little memory so; else the lists."""
        lengths = self.lengths
        size = len(lengths) * int(lengths.max()) if len(lengths) else 0
        return self.padded(left) if size <= max(blocks.MOST_ENTRIES, _WASTE * len(self.values)) else self

    def joined(self, ids: Tensor) -> ItemLists:
        """Return lists of each row's own: its list, and then ids (B, P), padded with 0 or not.

        A device is waited for, as it must tell how many these are.
        """
        lengths, width = self.lengths, ids.shape[1]
        before, offsets = _offsets(lengths), _offsets(lengths + width)
        rows = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
        within = torch.arange(len(rows), device=lengths.device) - before[rows]
        dtype = torch.promote_types(self.values.dtype, ids.dtype)
        values = self.values.new_empty(len(rows) + ids.numel(), dtype=dtype)
        values[offsets[rows] + within] = self.values[self.offsets[self.rows[rows]] + within].to(dtype)
        last = offsets[1:].unsqueeze(1) - width + torch.arange(width, device=ids.device)
        values[last] = ids.to(dtype)
        return ItemLists(values, offsets)

    def map(self, change: Callable[[Tensor], Tensor]) -> ItemLists:
        """Return the lists with every tensor changed."""
        return ItemLists(change(self.values), change(self.offsets), change(self.rows))

    def to(self, device: torch.device | str) -> ItemLists:
        """Return the lists on a device."""
        return self.map(lambda part: part.to(device))


Ids = Tensor | ItemLists


def rows_of(ids: Ids, rows: Tensor) -> Ids:
    """Return rows (P,) of padded ids (B, E) or lists, which may come again, without P × E entries.

    On a device they stay as they are if they are lists, and keep their padding if they become such: how
    long a list is would be waited for.
    """
    if isinstance(ids, Tensor) and len(rows) * ids.shape[1] <= blocks.MOST_ENTRIES:
        return ids[rows]
    if ids.device.type == "cpu":
        return (ItemLists.of_padded(ids) if isinstance(ids, Tensor) else ids)[rows].compact()
    if isinstance(ids, Tensor):
        number, width = ids.shape
        ids = ItemLists(ids.flatten(), torch.arange(number + 1, device=ids.device) * width)
    return ids[rows]


def blocks_of(several: list[ItemLists]) -> Iterator[slice]:
    """Yield slices of the rows of one or several lists in which none takes much memory when padded."""
    return blocks.blocks(torch.stack([lists.lengths for lists in several]).amax(0).tolist())


def _offsets(lengths: Tensor) -> Tensor:
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])

"""A user's targets are a set: an item that comes several times among the held-out events is one target."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids, ItemLists
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits import TargetRows


def distinct_targets(interactions: Interactions, first: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targets of rows, each item of a row once, at its first event.

    Args:
        interactions: the events.
        first: (B,) position of each row's first target.
        stop: (B,) position after its last one.

    Returns:
        (P,) number of the row, ascending, and (P,) item of each target, in the order of the events.
    """
    lengths = stop - first
    rows = torch.arange(len(first)).repeat_interleave(lengths)
    begin = (first - (lengths.cumsum(0) - lengths)).repeat_interleave(lengths)
    items = interactions.items[begin + torch.arange(len(rows))]
    keys, order = (rows * (interactions.num_items + 1) + items).sort(stable=True)
    kept = torch.ones(len(rows), dtype=torch.bool)
    kept[order[1:]] = keys.diff() != 0
    return rows[kept], items[kept]


def num_targets(interactions: Interactions, rows: TargetRows) -> Tensor:
    """Return the number of targets of each row, (n,)."""
    return torch.bincount(distinct_targets(interactions, rows.first, rows.stop)[0], minlength=len(rows))


def targets_of_rows(interactions: Interactions, first: Tensor, stop: Tensor) -> Ids:
    """Return the targets of rows as (B, T), right-padded with 0, or as lists; T is the most, at least 1."""
    if not len(first) or int((stop - first).max()) == 1:
        return interactions.items[first].unsqueeze(1)
    rows, items = distinct_targets(interactions, first, stop)
    counts = torch.bincount(rows, minlength=len(first))
    return ItemLists(items, torch.cat([counts.new_zeros(1), counts.cumsum(0)])).compact()

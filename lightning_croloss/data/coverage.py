"""How much of evaluation training has seen."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits import TargetRows


def count_unseen_histories(
    interactions: Interactions, rows: TargetRows, seen_items: Tensor, max_history: int
) -> int:
    """Count the rows whose history holds only items that training never saw; empty histories do not count.

    Args:
        interactions: the events.
        rows: the targets of evaluation.
        seen_items: (num_items + 1,) bool, the items that training saw.
        max_history: length of the histories.
    """
    known = seen_items[interactions.items].long()
    before = torch.cat([known.new_zeros(1), known.cumsum(0)])  # known events before each position
    start = interactions.user_offsets[interactions.users[rows.first]]
    beginning = torch.maximum(rows.first - max_history, start)
    unseen = (before[rows.first] == before[beginning]) & (rows.first > beginning)
    return int(unseen.sum())

"""The targets of training, and how often each item is one."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.next_targets import NextTargets
from lightning_croloss.data.splits import SplitRows, TargetRows


def training_rows(interactions: Interactions, rows: SplitRows, first_events: bool) -> TargetRows:
    """Return the targets of training, with the users' first events if they are asked for."""
    if not first_events:
        return rows.train
    chosen = rows.training_events & (interactions.positions == 0)
    chosen[rows.train.first] = True
    return TargetRows.single(chosen)


def target_counts(
    interactions: Interactions, rows: TargetRows, num_items: int, window: int, count: int
) -> Tensor:
    """Return (num_items + 1,) occurrences of each item among training targets; index 0 is 0.

    Args:
        interactions: the events.
        rows: the targets of training.
        num_items: size of the catalogue.
        window: among how many targets one is drawn; 1 is the next one itself, above the counts are float64.
        count: number of different ones that are drawn.
    """
    if window > 1:
        drawn = NextTargets(interactions, rows, window, count)
        return drawn.expected_counts(interactions.items, num_items)
    return torch.bincount(interactions.items[rows.first], minlength=num_items + 1)

"""Masks of windows, as BERT4Rec draws them: how often each target has one."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.data.interactions import Interactions


def masked_counts(
    interactions: Interactions,
    targets: Tensor,
    length: int,
    probability: float,
    last_probability: float,
    random_ends: bool,
) -> Tensor:
    """Return how often each item is a masked target in an epoch on average, (num_items + 1,) float64.

    Each of a row's n targets is masked with the probability p. With the probability a, or where that masks
    none, the last one is masked alone: each has (1 − a) p, and the last one a + (1 − a) (1 − p)^n besides.

    Args:
        interactions: the events.
        targets: (P,) positions of the targets of training.
        length: the most targets of a row, see ``SequenceDataset``.
        probability: p.
        last_probability: a.
        random_ends: whether any target of the row, drawn evenly, takes the place of the last one.
    """
    users, sizes = interactions.users[targets], interactions.num_users + 1
    last = torch.full((sizes,), -1).scatter_reduce_(0, users, targets, "amax")
    _, rows, numbers = torch.unique(
        torch.stack([users, (last[users] - targets) // length]),
        dim=1,
        return_inverse=True,
        return_counts=True,
    )
    alone = last_probability + (1.0 - last_probability) * (1.0 - probability) ** numbers.double()
    if random_ends:
        beside = (alone / numbers)[rows]
    else:
        ends = torch.full_like(numbers, -1).scatter_reduce_(0, rows, targets, "amax")
        beside = torch.where(ends[rows] == targets, alone[rows], 0.0)
    expected = (1.0 - last_probability) * probability + beside
    return torch.bincount(interactions.items[targets], expected, minlength=interactions.num_items + 1)

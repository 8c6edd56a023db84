"""Rows of the splits that give each event a part."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits.base import SplitRows, TargetRows

TRAIN, VALID, TEST = 0, 1, 2


def rows_of_parts(interactions: Interactions, parts: Tensor) -> SplitRows:
    """Return one row a training target, and one row a user for all targets of validation and of test.

    A row whose history would be empty is left out.

    Args:
        interactions: the events.
        parts: (E,) 0 training, 1 validation, 2 test; never falling within a user.

    Raises:
        ValueError: if the parts of a user fall.
    """
    users = interactions.users
    if bool(((parts.diff() < 0) & (users.diff() == 0)).any()):
        raise ValueError("the parts of a user's events must be in the order training, validation, test")
    training = parts == TRAIN
    valid, test = (_evaluation(interactions, parts, part) for part in (VALID, TEST))
    seen = torch.bincount(users[training], minlength=interactions.num_users + 1) > 0
    evaluated = users[torch.cat([valid.first, test.first])]
    return SplitRows(
        train=TargetRows.single(training & (interactions.positions >= 1)),
        valid=valid,
        test=test,
        training_events=training,
        unseen_users=bool((~seen[evaluated]).any()),
    )


def _evaluation(interactions: Interactions, parts: Tensor, part: int) -> TargetRows:
    size = interactions.num_users + 1
    before = torch.bincount(interactions.users[parts < part], minlength=size)
    targets = torch.bincount(interactions.users[parts == part], minlength=size)
    chosen = ((before > 0) & (targets > 0)).nonzero().squeeze(1)
    first = interactions.user_offsets[chosen] + before[chosen]
    return TargetRows(first, first + targets[chosen])

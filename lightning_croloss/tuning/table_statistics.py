"""What the events of a table are like, as far as a training is planned by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_croloss.data import GlobalTime, Interactions
from lightning_croloss.data.statistics import quantiles
from lightning_croloss.data.targets import distinct_targets
from lightning_croloss.errors import DataError

#: Of how many events at least users are counted.
COUNTED = (2, 3, 4, 5)
#: From which share of steps of exactly 1 on a column of times is a mere numbering of a user's events.
NUMBERED = 0.95


@dataclass(frozen=True)
class Later:
    """What a division at two moments would leave for evaluation, a tenth of the events each.

    Args:
        valid: users of validation, with events before.
        test: users of the test, with events before.
        unseen: share of the test's targets that training has never seen.
    """

    valid: int
    test: int
    unseen: float


@dataclass(frozen=True)
class Statistics:
    """What the events of a table are like.

    Args:
        users: number of users.
        items: number of items.
        events: number of events.
        lengths: quantiles of the number of events of the users that have two or more: ``median``, ``p90`` …
        at_least: how many users have at least 2, 3, 4 and 5 events.
        at_least_apart: the same, without events whose item is that of the user's event before.
        typical: the median number of events of users of the whole table that have two or more, whichever of
            them are trained on.
        repeats: share of the events whose item the user had before.
        consecutive: share of the events whose item is that of the user's event before.
        times: "none"; "order", which numbers the events of a user; or "real".
        later: what :class:`GlobalTime` would evaluate; None if it cannot divide them.
        item_features: the columns of the items' table that can be features.
        user_features: those of the users' table.
    """

    users: int
    items: int
    events: int
    lengths: Mapping[str, float]
    at_least: Mapping[int, int]
    at_least_apart: Mapping[int, int]
    typical: float
    repeats: float = 0.0
    consecutive: float = 0.0
    times: Literal["none", "order", "real"] = "order"
    later: Later | None = None
    item_features: tuple[str, ...] = ()
    user_features: tuple[str, ...] = ()


def look_at(
    interactions: Interactions, item_features: tuple[str, ...] = (), user_features: tuple[str, ...] = ()
) -> Statistics:
    """Return the statistics of events.

    Args:
        interactions: the events.
        item_features: what can be features of the items.
        user_features: what can be features of the users.

    Raises:
        DataError: no user has two events, so that there is nothing to predict.
    """
    lengths = interactions.lengths[1:]
    several = lengths[lengths >= 2]
    if not len(several):
        raise DataError(
            f"none of the {interactions.num_users:,} users has two events, so that there is no history to "
            "predict from: is the column of the users the right one?"
        )
    follows = interactions.positions > 0
    same = torch.zeros(len(interactions), dtype=torch.bool)
    same[1:] = interactions.items[1:] == interactions.items[:-1]
    reloaded = torch.bincount(interactions.users[same & follows], minlength=len(interactions.lengths))
    apart = lengths - reloaded[1:]
    several_quantiles = quantiles(several)
    pairs = interactions.users * (interactions.num_items + 1) + interactions.items
    times = _kind_of_times(interactions)
    return Statistics(
        users=interactions.num_users,
        items=interactions.num_items,
        events=len(interactions),
        lengths=several_quantiles,
        at_least=_at_least(lengths),
        at_least_apart=_at_least(apart),
        typical=several_quantiles["median"],
        repeats=1 - len(pairs.unique()) / len(interactions),
        consecutive=int((same & follows).sum()) / len(interactions),
        times=times,
        later=_later(interactions) if times == "real" else None,
        item_features=item_features,
        user_features=user_features,
    )


def _at_least(lengths: Tensor) -> dict[int, int]:
    return {number: int((lengths >= number).sum()) for number in COUNTED}


def _kind_of_times(interactions: Interactions) -> Literal["none", "order", "real"]:
    times = interactions.times
    if times is None:
        return "none"
    steps = times.diff()[interactions.positions[1:] > 0]
    numbered = int((steps == 1).sum()) >= NUMBERED * len(steps)
    return "order" if numbered or bool((times == times[0]).all()) else "real"


def _later(interactions: Interactions) -> Later | None:
    split = GlobalTime()
    try:
        rows = split.split(split.arrange(interactions))
    except DataError:
        return None
    if not len(rows.test) or not len(rows.valid):
        return None
    seen = torch.zeros(interactions.num_items + 1, dtype=torch.bool)
    seen[interactions.items[rows.training_events]] = True
    targets = distinct_targets(interactions, rows.test.first, rows.test.stop)[1]
    return Later(len(rows.valid), len(rows.test), int((~seen[targets]).sum()) / len(targets))


__all__ = ["Later", "Statistics", "look_at"]

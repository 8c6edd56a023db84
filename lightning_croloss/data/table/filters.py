"""The filters of a table's events, each counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.data.event_columns import EventColumn
from lightning_croloss.data.report import Counts


@dataclass(frozen=True)
class Events:
    """Events as columns (E,).

    Attributes:
        users: positions of the users among their tokens.
        items: positions of the items among theirs.
        times: times, or None if the order of the rows counts.
        weights: weights, or None.
        parts: 0 training, 1 validation, 2 test, or None if the split decides.
        columns: features of the events.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[Any] | None = None
    weights: NDArray[np.float64] | None = None
    parts: NDArray[np.int8] | None = None
    columns: tuple[EventColumn, ...] = ()

    def __len__(self) -> int:
        return len(self.users)

    @property
    def counts(self) -> Counts:
        """Numbers of events, users and items."""
        present = (
            int((np.bincount(column) > 0).sum()) if len(self) else 0 for column in (self.users, self.items)
        )
        return Counts(len(self), *present)

    def take(self, chosen: NDArray[Any]) -> Events:
        """Return the events that ``chosen`` names, by a mask or by positions."""
        columns: dict[str, Any] = {
            name: None if column is None else column[chosen]
            for name, column in vars(self).items()
            if name != "columns"
        }
        columns["columns"] = tuple(column[chosen] for column in self.columns)
        return Events(**columns)

    def in_order(self) -> Events:
        """Return the events sorted by user, part and time; ties keep their order."""
        keys = [key for key in (self.times, self.parts, self.users) if key is not None]
        return self.take(np.lexsort(keys))


def without_duplicates(events: Events, keep: str) -> Events:
    """Return, of the events of a user with one item, the first or the last; events must be in order."""
    key = events.users * (int(events.items.max(initial=0)) + 1) + events.items
    if keep == "last":
        return events.take(np.sort(len(key) - 1 - np.unique(key[::-1], return_index=True)[1]))
    return events.take(np.sort(np.unique(key, return_index=True)[1]))


def without_repeats(events: Events) -> Events:
    """Leave out events whose item is that of the user's event before; events must be in order."""
    same = (events.users[1:] == events.users[:-1]) & (events.items[1:] == events.items[:-1])
    return events.take(np.concatenate([np.ones(min(len(events), 1), dtype=bool), ~same]))


def with_minimum_counts(events: Events, per_user: int, per_item: int, repeated: bool) -> Events:
    """Leave out the events of rare items, then those of users with few events left.

    Args:
        events: the events.
        per_user: number of events that a user must have.
        per_item: number of events that an item must have.
        repeated: go on until every user and item that is left has that many, as a k-core does.
    """
    while True:
        size = len(events)
        for name, minimum in (("items", per_item), ("users", per_user)):
            column = getattr(events, name)
            if minimum > 1 and len(events):
                events = events.take(np.bincount(column)[column] >= minimum)
        if not repeated or len(events) == size:
            return events

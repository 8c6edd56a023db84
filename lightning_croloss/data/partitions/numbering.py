"""The events of some partitions under the ids that one process with all of them would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from lightning_croloss.data.event_columns import EventColumn
from lightning_croloss.data.interactions import Interactions, Share, Vocabulary
from lightning_croloss.data.partitions.reader import PartitionEvents
from lightning_croloss.data.table.filters import Events
from lightning_croloss.data.table.preparation import dated


class Numbering:
    """Gives ids to the users and items that are left.

    Args:
        items: (N,) bool, which items of the folder are left.
        users: (U,) bool, which users.
        item_vocabulary: the tokens of those items.
    """

    def __init__(
        self, items: NDArray[np.bool_], users: NDArray[np.bool_], item_vocabulary: Vocabulary
    ) -> None:
        self.items, self.users, self.item_vocabulary = items, users, item_vocabulary
        self._item_ids = np.cumsum(items, dtype=np.int64)
        self._user_ids = np.cumsum(users, dtype=np.int64)
        self.num_users = int(self._user_ids[-1])

    def interactions(
        self,
        parts: Sequence[PartitionEvents],
        boundaries: tuple[int | float, int | float] | None = None,
        whole: bool = False,
    ) -> Interactions:
        """Return the events of some partitions.

        Args:
            parts: the partitions with those of their events that are left.
            boundaries: when validation and test begin, if the split divides by time.
            whole: whether these are all partitions.
        """
        ids = [self._user_ids[part.numbers][part.events.users] for part in parts]
        left = [self.users[part.numbers] for part in parts]
        known = np.concatenate(
            [self._user_ids[part.numbers[own]] for part, own in zip(parts, left, strict=True)]
        )
        tokens = pl.concat([part.users.filter(own) for part, own in zip(parts, left, strict=True)])
        order = np.argsort(known)
        known = known[order]
        events = dated(joined([part.events for part in parts]), parts[0].dates)
        return Interactions.from_ids(
            np.searchsorted(known, np.concatenate(ids)) + 1,
            self._item_ids[events.items],
            Vocabulary(tokens.gather(order).to_numpy()),
            self.item_vocabulary,
            events.times,
            events.weights,
            events.parts,
            events.columns,
            None
            if whole
            else Share(torch.from_numpy(np.concatenate([[0], known])), self.num_users, boundaries),
        )


def joined(parts: Sequence[Events]) -> Events:
    """Return the events of several partitions; the users' positions are those of each."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for name in vars(parts[0]):
        values = [getattr(part, name) for part in parts]
        if name == "columns":
            columns[name] = tuple(map(_joined_column, zip(*values, strict=True)))
        else:
            columns[name] = None if values[0] is None else np.concatenate(values)
    return Events(**columns)


def _joined_column(parts: Sequence[EventColumn]) -> EventColumn:
    first = parts[0]
    if first.kind == "numeric":
        return EventColumn(first.name, first.kind, torch.cat([part.values for part in parts]))
    numbers: dict[str, int] = {"": 0}
    values = []
    for part in parts:
        codes = [0, *(numbers.setdefault(token, len(numbers)) for token in part.tokens)]
        values.append(torch.tensor(codes)[part.values])
    return EventColumn(first.name, first.kind, torch.cat(values), tuple(numbers)[1:])

"""The events of some partitions under the ids that one process with all of them would give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
        self._item_ids = _small(np.cumsum(items, dtype=np.int64))
        self._user_ids = _small(np.cumsum(users, dtype=np.int64))
        self.num_users = int(self._user_ids[-1])

    def interactions(
        self,
        parts: Iterable[PartitionEvents],
        boundaries: tuple[int | float, int | float] | None = None,
        whole: bool = False,
    ) -> Interactions:
        """Return the events of some partitions.

        Args:
            parts: the partitions with those of their events that are left; none is kept longer than it takes
                to number its events.
            boundaries: when validation and test begin, if the split divides by time.
            whole: whether these are all partitions.
        """
        columns: dict[str, list[Any]] = {}
        ids, tokens, dates = [], [], False
        for part in parts:
            own = self.users[part.numbers]
            ids.append(self._user_ids[part.numbers[own]])
            tokens.append(part.users.filter(own))
            dates = part.dates
            numbered = {
                **vars(part.events),
                "users": self._user_ids[part.numbers][part.events.users],
                "items": self._item_ids[part.events.items],
            }
            for name, values in numbered.items():
                columns.setdefault(name, []).append(values)
        known = np.concatenate(ids)
        order = np.argsort(known)
        known = known[order]
        events = dated(Events(**{name: _joined(columns, name) for name in [*columns]}), dates)
        return Interactions.from_ids(
            events.users if whole else _small(np.searchsorted(known, events.users) + 1),
            events.items,
            Vocabulary(pl.concat(tokens).gather(order).to_numpy()),
            self.item_vocabulary,
            events.times,
            events.weights,
            events.parts,
            events.columns,
            None
            if whole
            else Share(torch.from_numpy(np.concatenate([[0], known])), self.num_users, boundaries),
        )


def _small(ids: NDArray[np.int64]) -> NDArray[Any]:
    """Return ids in half the memory, where that holds them."""
    return ids.astype(np.int32) if int(ids.max(initial=0)) < 2**31 else ids


def _joined(columns: dict[str, list[Any]], name: str) -> Any:
    """Return a column of all parts, which are forgotten."""
    values = columns.pop(name)
    if name == "columns":
        return tuple(map(_joined_column, zip(*values, strict=True)))
    return None if values[0] is None else np.concatenate(values)


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

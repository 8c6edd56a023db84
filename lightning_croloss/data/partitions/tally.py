"""Tally: one report of many partitions, each user counted in its own, each item once."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.report import Counts, PreparationReport
from lightning_croloss.data.table.filters import Events
from lightning_croloss.data.table.reading import Table
from lightning_croloss.data.table.recording import Recording
from lightning_croloss.data.table.spec import TableSpec


class Tally(Recording):
    """Is told of each step of each partition, and makes the report of all.

    Args:
        spec: which columns hold users and items.
        items: the tokens of all items, sorted.
    """

    def __init__(self, spec: TableSpec, items: pl.Series) -> None:
        super().__init__(spec)
        self._items = items
        self._steps: dict[str, str] = {"": ""}  # what was read comes first
        self._events: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._present: dict[str, NDArray[np.bool_]] = {}

    def begin(self, table: Table) -> None:
        """Take note of what was read of a partition."""
        self._rows("", "", table)

    def rows(self, name: str, reason: str, table: Table) -> None:
        """Take note of a step that has left these rows of a partition."""
        self._rows(name, reason, table)

    def events(self, name: str, reason: str, events: Events) -> None:
        """Take note of a step that has left these events of a partition."""
        self._add(name, reason, len(events), len(np.unique(events.users)), events.items)

    def whole(self, sources: list[str]) -> PreparationReport:
        """Return the report of all partitions."""
        counts = {
            name: Counts(self._events[name], self._users[name], int(self._present[name].sum()))
            for name in self._events
        }
        report = PreparationReport(sources, counts[""])
        for name, reason in self._steps.items():
            if name and name in counts:
                report.add(name, reason, counts[name])
        return report

    def _rows(self, name: str, reason: str, table: Table) -> None:
        users = table.frame[self.spec.user_column].drop_nulls().n_unique()
        items = table.frame[self.spec.item_column].drop_nulls().unique().cast(self._items.dtype, strict=False)
        places = self._items.search_sorted(items.drop_nulls()).clip(upper_bound=max(len(self._items) - 1, 0))
        self._add(name, reason, table.frame.height, users, places.to_numpy())

    def _add(self, name: str, reason: str, events: int, users: int, items: NDArray[np.integer]) -> None:
        self._steps[name] = reason
        self._events[name] = self._events.get(name, 0) + events
        self._users[name] = self._users.get(name, 0) + users
        present = self._present.setdefault(name, np.zeros(len(self._items), dtype=np.bool_))
        present[items] = True


class Silent(Recording):
    """Takes note of nothing, where the same partitions are read once more."""

    def begin(self, table: Table) -> None:
        """Do nothing."""

    def rows(self, name: str, reason: str, table: Table) -> None:
        """Do nothing."""

    def events(self, name: str, reason: str, events: Events) -> None:
        """Do nothing."""

"""The times of all events in their order, wherever they lie."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lightning_croloss.data.interactions import Interactions


class OrderedTimes(Protocol):
    """What a split by time asks of the times of all events."""

    @property
    def has_dates(self) -> bool:
        """Whether they are dates, as nanoseconds since 1970."""

    @property
    def are_floats(self) -> bool:
        """Whether they are numbers that need not be whole."""

    def __len__(self) -> int:
        """Return the number of events."""

    def at(self, place: int) -> int | float:
        """Return the time at a place of their order, from 0."""

    def before(self, time: int | float) -> int:
        """Return the number of events before a time."""

    def readable(self, time: int | float) -> int | float | str:
        """Return a time as a user would write it."""


class TimesInMemory:
    """The times of events that are all in memory.

    Args:
        interactions: the events, which have times.
    """

    def __init__(self, interactions: Interactions) -> None:
        assert interactions.times is not None
        self._interactions = interactions
        self._ordered: Tensor = interactions.times.sort().values
        self.has_dates = interactions.has_dates
        self.are_floats = self._ordered.is_floating_point()

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._ordered)

    def at(self, place: int) -> int | float:
        """Return the time at a place of their order, from 0."""
        found: int | float = self._ordered[place].item()
        return found

    def before(self, time: int | float) -> int:
        """Return the number of events before a time."""
        return int((self._ordered < time).sum())

    def readable(self, time: int | float) -> int | float | str:
        """Return a time as a user would write it."""
        return self._interactions.readable_time(time)

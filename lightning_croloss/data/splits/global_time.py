"""GlobalTime: what comes later is for evaluation, with the same boundaries in time for all users."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import torch

from lightning_croloss.common.checks import check_moments
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits.base import Split, SplitRows
from lightning_croloss.data.splits.ordered_times import OrderedTimes, TimesInMemory
from lightning_croloss.data.splits.parts import TEST, VALID, rows_of_parts
from lightning_croloss.errors import DataError

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class GlobalTime(Split):
    """All events from one time on are for validation, from a later time on for test, the rest for training.

    This is what a model that is trained once and then deployed meets: nothing that it learned from happened
    after what it is asked about.

    Training has one row for each event but the user's first; validation and test have one row a user: all of
    the user's events in that part are the targets, everything before is the history. A user without any event
    before has no row. Equal times are never divided.

    Args:
        valid: when validation begins: a fraction of the events, between 0 and 1, or a time. A time is a
            number, or an ISO date or date-time (UTC, unless it says otherwise) where the data has dates.
        test: when test begins, in the same way. Fractions are of all events; those at the same time as the
            first one of a part belong to it too.

    Raises:
        TypeError: for a date that is no text.
        ValueError: if two fractions are not below 1 together, or a text is not an ISO date.
    """

    def __init__(self, valid: int | float | str = 0.1, test: int | float | str = 0.1) -> None:
        super().__init__()
        for name, value in (("valid", valid), ("test", test)):
            check_moments(**{name: value})
            if isinstance(value, str):
                _nanoseconds(name, value)
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name}={value} must be a fraction, a time or an ISO date")
        if _is_fraction(valid) and _is_fraction(test) and valid + test >= 1:  # type: ignore[operator]
            raise ValueError(
                f"valid={valid} and test={test} leave nothing for training: take less than 1 together"
            )
        self.valid, self.test = valid, test

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part.

        Raises:
            DataError: if there are no times, they are of another kind than the arguments, or a part is empty.
        """
        times = interactions.times
        if times is None:
            raise DataError("GlobalTime needs times, but the data has none: name the column of the times")
        if interactions.share is not None:
            assert interactions.share.boundaries is not None
            begin_valid, begin_test = interactions.share.boundaries
        else:
            begin_valid, begin_test = self.boundaries(TimesInMemory(interactions))
        parts = torch.zeros(len(interactions), dtype=torch.int8)
        parts[times >= begin_valid] = VALID
        parts[times >= begin_test] = TEST
        return rows_of_parts(interactions, parts)

    @property
    def divides_by_time(self) -> bool:
        """True: the boundaries are those of all users."""
        return True

    def boundaries(self, times: OrderedTimes) -> tuple[int | float, int | float]:
        """Return the times at which validation and test begin.

        Args:
            times: those of all events.

        Raises:
            DataError: if they are of another kind than the arguments, or a part would be empty.
        """
        begin_test = self._inside("test", self.test, times, len(times))
        begin_valid = self._inside("valid", self.valid, times, times.before(begin_test))
        if not begin_valid < begin_test:
            raise DataError(
                f"GlobalTime: valid={self.valid!r} begins at {times.readable(begin_valid)}, "
                f"not before test={self.test!r} at {times.readable(begin_test)}: choose other "
                "times"
            )
        return begin_valid, begin_test

    @classmethod
    def _inside(cls, name: str, value: int | float | str, times: OrderedTimes, stop: int) -> int | float:
        """Return what :meth:`_boundary` does, refusing a time beyond those of the events, however far."""
        begin = cls._boundary(name, value, times, stop)
        first, last = times.at(0), times.at(len(times) - 1)
        if not first < begin <= last:
            raise DataError(
                f"GlobalTime: {name}={value!r} must lie after the first event, at "
                f"{times.readable(first)}, and not after the last, at {times.readable(last)}"
            )
        return begin

    @staticmethod
    def _boundary(name: str, value: int | float | str, times: OrderedTimes, stop: int) -> int | float:
        """Return the time at which a part begins.

        Args:
            name: name of the part.
            value: what the user gave.
            times: those of all events.
            stop: number of events before the end of the part.
        """
        if isinstance(value, str):
            if not times.has_dates:
                raise DataError(
                    f"GlobalTime: {name}={value!r} is a date, but the times are numbers, "
                    f"{times.at(0)} … {times.at(len(times) - 1)}: give a number (in seconds "
                    f"since 1970 the date is {_nanoseconds(name, value) // 10**9})"
                )
            return _nanoseconds(name, value)
        if _is_fraction(value):
            # of the part's own events, at least one
            return times.at(max(stop - max(round(value * len(times)), 1), 0))
        if times.has_dates:
            raise DataError(
                f"GlobalTime: {name}={value!r} is a number, but the times are dates: give a fraction "
                "or an ISO date"
            )
        # whole times are at or after a broken one if they are at or after the next whole one
        return value if times.are_floats else math.ceil(value)


def _is_fraction(value: int | float | str) -> bool:
    return not isinstance(value, str) and 0 < value < 1


def _nanoseconds(name: str, text: str) -> int:
    """Return the nanoseconds since 1970 of an ISO date or date-time."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(
            f"{name}={text!r} must be a fraction, a number, or an ISO date such as 2024-05-31T18:30:00"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return (when - _EPOCH) // timedelta(microseconds=1) * 1_000

"""What a model reads of the events of a history besides their items: times, and features of events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.feature_encoding import FeatureEncoding, plain_encodings, read_encodings
from croloss_serving.recommend.time_units import first_in_other_unit, in_unit, unit_of
from croloss_serving.recommend.unread import warn_of_unread

#: For each history the time of each event: numbers, or dates and ISO texts, as in training.
Times = Sequence[Sequence[Any]]
#: For each feature of events and each history a value of each event; None or "" is missing.
EventFeatures = Mapping[str, Sequence[Sequence[Any]]]
#: What times may be.
NUMBERS, DATES = "numbers", "dates"
#: Times beyond are taken for it: their differences are still integers of 64 bits.
_FARTHEST = 2**61
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def whole_times(times: NDArray[Any], dates: bool) -> NDArray[np.int64]:
    """Return times as whole numbers: numbers rounded down, nanoseconds since 1970 (dates) as seconds."""
    if dates:
        seconds: NDArray[np.int64] = times.astype(np.int64) // 10**9
        return seconds
    within = np.clip(times, -_FARTHEST, _FARTHEST)
    # NumPy before 2.1 rounds integers to floats, which do not hold all of them
    whole: NDArray[np.int64] = (within if within.dtype.kind in "iu" else np.floor(within)).astype(np.int64)
    return whole


@dataclass(frozen=True)
class EncodedEvents:
    """The events of some histories as numbers, one history after the other.

    Attributes:
        offsets: (B + 1,) events of history b are ``[offsets[b], offsets[b + 1])``.
        times: (S,) int64, or None.
        features: for each feature (S,) int64 ids of tokens, 0 = missing, or float32, NaN = missing.
    """

    offsets: NDArray[np.int64]
    times: NDArray[np.int64] | None
    features: list[NDArray[Any]]

    def rows(self, part: slice) -> EncodedEvents:
        """Return those of some histories that follow one another."""
        begin, stop, _ = part.indices(len(self.offsets) - 1)
        return EncodedEvents(self.offsets[begin : max(begin, stop) + 1], self.times, self.features)

    def padded(self, width: int) -> tuple[NDArray[np.int64] | None, list[NDArray[Any]]]:
        """Return times and features of the last ``width`` events of each history, left-padded: (B, width)."""
        position = self.offsets[1:, None] - np.arange(width, 0, -1)
        inside = position >= self.offsets[:-1, None]

        def filled(column: NDArray[Any]) -> NDArray[Any]:
            nothing = np.nan if column.dtype.kind == "f" else 0
            if not len(column):
                return np.full(position.shape, nothing, dtype=column.dtype)
            return np.where(inside, column[np.where(inside, position, 0)], nothing).astype(column.dtype)

        times = None if self.times is None else filled(self.times)
        return times, [filled(column) for column in self.features]


@dataclass(frozen=True)
class EventInputs:
    """What a model was trained to read of events, and how it is read.

    Attributes:
        times: "numbers" or "dates", what times were in training; None if it does not read them.
        encodings: how each feature of events is read.
        typical_time: the size that half of the times of training are below, as whole numbers: it tells their
            unit, see ``time_units``; None if it is not known, as of files of earlier releases.
    """

    times: str | None = None
    encodings: tuple[FeatureEncoding, ...] = ()
    typical_time: float | None = field(default=None, compare=False)

    def __bool__(self) -> bool:
        """Tell whether the model reads anything but items."""
        return self.times is not None or len(self.encodings) > 0

    @property
    def names(self) -> list[str]:
        """The names of the features."""
        return [encoding.name for encoding in self.encodings]

    def to_plain(self) -> dict[str, Any] | None:
        """Return all this as plain types; None if there is nothing."""
        if not self:
            return None
        plain = {"times": self.times, "features": plain_encodings(self.encodings)}
        return plain if self.typical_time is None else {**plain, "typical_time": self.typical_time}

    @classmethod
    def from_plain(cls, plain: Any) -> EventInputs:
        """Return what :meth:`to_plain` was called on.

        Raises:
            ValueError: this is something else.
        """
        if plain is None:
            return cls()
        if not isinstance(plain, Mapping) or not {*plain} <= {"times", "features", "typical_time"}:
            raise ValueError("what is read of events must be times and features")
        times = plain.get("times")
        if times not in (None, NUMBERS, DATES):
            raise ValueError(f"times of events are {NUMBERS} or {DATES}, not {times!r:.60}")
        encodings = read_encodings(plain.get("features")) or []
        for encoding in encodings:
            if encoding.kind == "multi":
                raise ValueError(f"the feature {encoding.name!r} of events must be one value an event")
        typical = plain.get("typical_time")
        if typical is not None and not (type(typical) in (int, float) and 0 <= typical < math.inf):
            raise ValueError(f"the size of times of events is a number, not {typical!r:.60}")
        return cls(times, tuple(encodings), typical if times else None)

    def encode(
        self,
        lengths: Sequence[int],
        times: Times | None,
        features: EventFeatures | None,
        who: str,
        kept: Sequence[NDArray[np.bool_]] | None = None,
    ) -> EncodedEvents | None:
        """Return what is given of the events of histories as numbers; None if the model reads nothing.

        Warns of what is given though the model does not read it.

        Args:
            lengths: number of events of each history as it was given.
            times: their times.
            features: their features.
            who: what errors call the model.
            kept: for each history (length,) which events are left, those of known items; None = all.

        Raises:
            ValueError: something that the model reads is missing, there is not one value for each event, or
                a value is not what it was in training, or a time is in another unit.
        """
        if features is not None and not isinstance(features, Mapping):
            raise ValueError(
                f"event_features must be a dictionary, lists by the names of features, got {features!r:.60}"
            )
        if not any(lengths):  # no events, of which nothing has to be known
            times = [[] for _ in lengths] if times is None and self.times is not None else times
            features = {name: [[] for _ in lengths] for name in self.names} | dict(features or {})
        self._warn_of_unread(times, features, who)
        if not self:
            return None
        self._check_names(times, features, who)
        chosen = None if kept is None else np.concatenate([np.zeros(0, dtype=np.bool_), *kept])
        counts = list(lengths) if kept is None else [int(part.sum()) for part in kept]
        whole = None
        if self.times is not None and times is not None:
            flat = _flat("times", "the time", times, lengths)
            whole = whole_times_of(flat, self.times == DATES)
            self._check_unit(whole, flat, lengths, who)
        found = []
        for encoding in self.encodings:
            assert features is not None
            name = f"event_features[{encoding.name!r}]"
            found.append(encoding.encode(_flat(name, "a value", features[encoding.name], lengths))[:, 0])
        if chosen is not None:
            whole = None if whole is None else whole[chosen]
            found = [column[chosen] for column in found]
        return EncodedEvents(np.cumsum([0, *counts], dtype=np.int64), whole, found)

    def _warn_of_unread(self, times: Times | None, features: EventFeatures | None, who: str) -> None:
        unread = [*(features or {})]
        warn_of_unread(who, [name for name in unread if name not in self.names], "events", self.names)
        if times is not None and self.times is None:
            warn_of_unread(who, ["times"], "events", ())

    def _check_names(self, times: Times | None, features: EventFeatures | None, who: str) -> None:
        if times is None and self.times is not None:
            raise ValueError(
                f"{who} reads the times of events: give times, for each history the list of the "
                f"{'dates' if self.times == DATES else 'times'} of its events, as in training"
            )
        for name in self.names:
            if features is None or name not in features:
                raise ValueError(
                    f"{who} reads {name!r} of events: give it in event_features, for each history the list "
                    "of the values of its events, None where one is missing"
                )

    def _check_unit(
        self, whole: NDArray[np.int64], given: Sequence[Any], lengths: Sequence[int], who: str
    ) -> None:
        if self.times != NUMBERS:  # the unit of dates is known
            return
        position = first_in_other_unit(whole, lengths, self.typical_time)
        if position is not None:
            raise ValueError(
                f"times holds {given[position]!r}, a time {in_unit(abs(float(whole[position])))}, but {who} "
                f"was trained with times {in_unit(self.typical_time)}: give them in "
                f"{unit_of(self.typical_time)}"
            )


def whole_times_of(values: Sequence[Any], dates: bool) -> NDArray[np.int64]:
    """Return times that a user gives as whole numbers, see :func:`whole_times`.

    Raises:
        ValueError: a value is not a number, or not a date; the message names it.
    """
    if dates:
        return np.array([_seconds(value) for value in values], dtype=np.int64)
    for value in values:
        is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not is_number or value != value or abs(value) == np.inf:
            raise ValueError(f"times holds {value!r}, but times are numbers, as in training")
    # an integer that no float holds exactly stays one
    whole = [max(-_FARTHEST, min(_FARTHEST, int(value // 1))) for value in values]
    return np.array(whole, dtype=np.int64)


def _seconds(value: Any) -> int:
    """Return the seconds since 1970 of a date or date-time, or of its ISO text; in UTC if it has no zone."""
    when = value
    try:
        if isinstance(value, np.datetime64):
            if np.isnat(value):
                raise ValueError
            return int(value.astype("datetime64[s]").astype(np.int64))
        if isinstance(value, str):
            when = datetime.fromisoformat(value.replace("Z", "+00:00"))
        elif isinstance(value, date) and not isinstance(value, datetime):
            when = datetime(value.year, value.month, value.day)
        if not isinstance(when, datetime) or when != when:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"times holds {value!r}, but times are dates, as in training: give a date, a date-time or an ISO "
            "text such as 2024-05-31T18:30:00"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return (when - _EPOCH) // timedelta(seconds=1)


def is_list(values: Any) -> bool:
    """Tell whether these are several values in an order, in whatever library's type."""
    unordered = isinstance(values, (str, bytes, Mapping, Set))
    return not unordered and hasattr(values, "__len__") and getattr(values, "ndim", 1) > 0


def _flat(name: str, what: str, rows: Any, lengths: Sequence[int]) -> list[Any]:
    """Return the values of all events, one history after the other.

    Raises:
        ValueError: there is not a list for each history, with a value for each event.
    """
    if not is_list(rows) or len(rows) != len(lengths):
        got = f"got {len(rows)}" if is_list(rows) else f"got {rows!r:.60}"
        raise ValueError(f"{name} must hold a list for each of the {len(lengths)} histories, {got}")
    values: list[Any] = []
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if not is_list(row) or len(row) != length:
            got = f"got {len(row)}" if is_list(row) else f"got {row!r:.60}"
            raise ValueError(
                f"{name}[{number}] must hold {what} of each of the {length} events of the history, {got}"
            )
        values += list(row)
    return values

"""HistoryFilter: which events training left out of histories, as plain types that travel with a model.

Filters that count the events of a user or an item are none: they decide who is trained on, not what a user's
history is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What a filter can be about: a range of numbers, some texts, the first or last event of a user with an item,
#: repeats of the item before, the beginning of a time window, its end, and columns that must have a value.
RANGE, TEXTS, DUPLICATES, REPEATS = "range", "texts", "duplicates", "consecutive_repeats"
FROM, UNTIL, PRESENT = "time_from", "time_until", "present"
#: Where :func:`plain_filters` are kept among what is said of the reading of events.
FILTERS = "filters"
#: Where the texts are kept, likewise, that mean "missing" in features alone: in ids, times and what filters
#: look at they are texts like any other.
MISSING_IN_FEATURES = "missing_values_in_features"
_OF_A_COLUMN = (RANGE, TEXTS, FROM, UNTIL, PRESENT)
_INTERVAL = re.compile(r"([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])")
#: So many texts are named.
_NAMED = 3


@dataclass(frozen=True)
class HistoryFilter:
    """One step by which training left events out of histories.

    Attributes:
        kind: one of ``RANGE``, ``TEXTS``, ``DUPLICATES``, ``REPEATS``, ``FROM``, ``UNTIL``, ``PRESENT``.
        column: the column that it is about; None of ``DUPLICATES`` and ``REPEATS``.
        keep: what is kept: of a range intervals such as ``"[4,inf)"`` or ``"[1,2];(3,4]"``; a list of texts;
            of duplicates "first" or "last"; of a window the time, a number or a date as text; else None.
        refuses_missing: whether an event without a value is a mistake, and not left out.

    Raises:
        ValueError: these do not belong together.
    """

    kind: str
    column: str | None = None
    keep: Any = None
    refuses_missing: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (*_OF_A_COLUMN, DUPLICATES, REPEATS):
            raise ValueError(f"{self.kind!r:.60} is no filter of events")
        if isinstance(self.column, str) != (self.kind in _OF_A_COLUMN):
            raise ValueError(f"the filter {self.kind} cannot have the column {self.column!r:.60}")
        if type(self.refuses_missing) is not bool or not self._keeps_something():
            raise ValueError(f"the filter {self.kind} cannot keep {self.keep!r:.60}")

    def _keeps_something(self) -> bool:
        keep = self.keep
        if self.kind == RANGE:
            return isinstance(keep, str) and bool(parse_intervals(keep))
        if self.kind == TEXTS:
            return isinstance(keep, list) and all(isinstance(text, str) for text in keep)
        if self.kind == DUPLICATES:
            return keep in ("first", "last")
        if self.kind in (FROM, UNTIL):
            return isinstance(keep, str) or (type(keep) in (int, float) and abs(keep) < math.inf)
        return keep is None

    @property
    def leaves_out(self) -> str:
        """What it leaves out, as a part of a sentence."""
        if self.kind == RANGE:
            return f"events whose {self.column!r} is not in {self.keep}"
        if self.kind == TEXTS:
            more = f" and {len(self.keep) - _NAMED} more" if len(self.keep) > _NAMED else ""
            named = ", ".join(f"{text!r:.60}" for text in self.keep[:_NAMED])
            return f"events whose {self.column!r} is none of {named}{more}"
        if self.kind == DUPLICATES:
            return f"all but the {self.keep} event of a user with an item"
        if self.kind == REPEATS:
            return "events with the item of the user's event before"
        if self.kind == PRESENT:
            return f"events without {self.column!r}"
        when = f"before {self.keep}" if self.kind == FROM else f"from {self.keep} on"
        return f"events whose {self.column!r} is {when}"


def plain_filters(filters: Iterable[HistoryFilter]) -> list[dict[str, Any]]:
    """Return filters as plain types."""
    return [
        {name: value for name, value in vars(each).items() if value is not None and value is not False}
        for each in filters
    ]


def read_filters(plain: Any) -> list[HistoryFilter]:
    """Return what :func:`plain_filters` was called on.

    Raises:
        ValueError: this is something else.
    """
    if not isinstance(plain, list) or not all(isinstance(entry, Mapping) for entry in plain):
        raise ValueError("the filters of events must be a list of descriptions")
    for entry in plain:
        if not {"kind"} <= entry.keys() <= {"kind", "column", "keep", "refuses_missing"}:
            raise ValueError(f"{entry!r:.60} is no filter of events")
    return [HistoryFilter(**entry) for entry in plain]


def range_of(low: float | None, high: float | None) -> str:
    """Return the closed interval of two ends as text; None is no end."""
    return ",".join(
        ("(-inf" if low is None else f"[{_written(low)}", "inf)" if high is None else f"{_written(high)}]")
    )


def _written(number: float) -> str:
    return repr(number if type(number) is int else float(number))


def window_of(column: str, intervals: str) -> list[HistoryFilter]:
    """Return the filters of times within intervals: the end of the last one is a filter of its own."""
    *before, (left, low, high, _) = sorted(parse_intervals(intervals), key=lambda interval: interval[2])
    kept = [f"{opening}{start!r},{end!r}{closing}" for opening, start, end, closing in before]
    kept.append(f"{left}{low!r},inf)")
    found = [HistoryFilter(RANGE, column, ";".join(kept))] if before or low > -math.inf else []
    return found if high == math.inf else [*found, HistoryFilter(UNTIL, column, high)]


def parse_intervals(text: str) -> list[tuple[str, float, float, str]]:
    """Return the intervals of a text such as ``"[1,2];(3,inf)"``, each with its brackets.

    Raises:
        ValueError: the text is something else.
    """
    found = []
    for part in text.split(";"):
        match = _INTERVAL.fullmatch(part.strip())
        try:
            low, high = (float(match[2]), float(match[3])) if match is not None else (math.nan, math.nan)
        except ValueError:
            low = high = math.nan
        if match is None or not low <= high:
            raise ValueError(f"{part.strip()!r:.60} is not an interval such as '[5,inf)'")
        found.append((match[1], low, high, match[4]))
    return found


def within(values: NDArray[np.float64], intervals: str) -> NDArray[np.bool_]:
    """Tell which values (E,) lie in one of the intervals; NaN lies in none."""
    inside = np.zeros(values.shape, dtype=np.bool_)
    for left, low, high, right in parse_intervals(intervals):
        above = values >= low if left == "[" else values > low
        inside |= above & (values <= high if right == "]" else values < high)
    return inside

"""The filters of a model's training, applied to a table of events for ``croloss recommend``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from croloss_serving.recommend.event_inputs import DATES, NUMBERS
from lightning_croloss.data.history_filters import (
    DUPLICATES,
    FILTERS,
    FROM,
    PRESENT,
    RANGE,
    REPEATS,
    TEXTS,
    UNTIL,
    HistoryFilter,
    read_filters,
    within,
)
from lightning_croloss.errors import DataError, suggest

if TYPE_CHECKING:
    import polars as pl

    from lightning_croloss.data.table.reading import Table
    from lightning_croloss.data.table.sources import TableFile

#: What the column is called that says which events of a frame are left.
KEPT = "kept"
_ROW = "row of the frame"


@dataclass
class EventFilters:
    """The filters that a table of events is put through.

    Attributes:
        applied: the filters, in their order.
        columns: for each column that they read, as errors call it, this column.
        needed: those of the columns that must have a value in each event.
        if_dropped: those that must have one if events without are left out.
        notes: sentences about what is left out, and what is not.
    """

    applied: list[HistoryFilter] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    needed: list[str] = field(default_factory=list)
    if_dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def masks(self, table: Table, time: str | None) -> list[pl.Series]:
        """Return for each filter that looks at one event alone the column of what it keeps.

        Args:
            table: the events, as they are read.
            time: the column of the times, None without.

        Raises:
            DataError: a value is not what it was in training.
        """
        return [
            _mask(each, table, time).alias(_name(number))
            for number, each in enumerate(self.applied)
            if each.kind in (RANGE, TEXTS, FROM)
        ]

    def mark(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return events with the column ``KEPT`` instead of those of :meth:`masks`, if there are filters.

        Args:
            frame: the columns ``user`` and ``item``, the events of a user in their order.
        """
        import polars as pl

        if not self.applied:
            return frame
        left = frame.with_row_index(_ROW)
        for number, each in enumerate(self.applied):
            if each.kind == DUPLICATES:
                pair = pl.struct("user", "item")
                mask = pair.is_first_distinct() if each.keep == "first" else pair.is_last_distinct()
            elif each.kind == REPEATS:
                mask = pl.col("item").ne_missing(pl.col("item").shift(1).over("user"))
            else:
                mask = pl.col(_name(number))
            left = left.filter(mask)
        kept = np.zeros(frame.height, dtype=np.bool_)
        kept[left[_ROW].to_numpy()] = True
        return frame.select(pl.exclude(r"^filter \d+$")).with_columns(pl.Series(KEPT, kept))


def filters_for(
    trained: Mapping[str, Any] | None, files: Sequence[TableFile], time: str | None, all_events: bool
) -> EventFilters:
    """Return the filters of training that can be applied to a table.

    Args:
        trained: how the model's training read its events; None if that is not known.
        files: the files of the table.
        time: the column of its times, None without.
        all_events: whether the user wants no filters.
    """
    from lightning_croloss.data.table.sources import texts_of

    found = EventFilters()
    if all_events:
        return found
    if trained is None or FILTERS not in trained:
        found.notes.append(
            "all events of the table count: the model does not say which events its training left out"
        )
        return found
    for each in read_filters(trained[FILTERS]):
        column = _column_of(each, time)
        has_column = column is None or all(column in file.columns for file in files)
        if each.kind == PRESENT:
            if has_column:  # without it, no event of the table lacks a value of it
                found.columns[f"the column {column!r} of training"] = str(column)
                found.if_dropped.append(str(column))
        elif each.kind == UNTIL:
            found.notes.append(
                f"events later than those of training count, too: training left out {each.leaves_out}"
            )
        elif not has_column:
            found.notes.append(_not_applied(each, files))
        else:
            found.applied.append(each)
            if column is not None:
                read = texts_of(files, column) if each.kind == TEXTS else column
                found.columns[f"the filter of {column!r}"] = read
            if each.refuses_missing or each.kind == FROM:
                found.needed.append(str(column))
    if found.applied:
        left_out = "; ".join(each.leaves_out for each in found.applied)
        found.notes.append(f"left out of histories, as in training: {left_out} (--all-events keeps all)")
    return found


def _not_applied(each: HistoryFilter, files: Sequence[TableFile]) -> str:
    column = str(each.column)
    return (
        f"the table has no column {column!r}, by which training left out {each.leaves_out}: they are not "
        "left out here; give the table that column, or leave such events out yourself"
        f"{suggest(column, files[0].columns)}"
    )


def _column_of(each: HistoryFilter, time: str | None) -> str | None:
    """Return the column that a filter reads: of times the one that orders the events, if there is one."""
    return time if each.kind == FROM and time is not None else each.column


def _name(number: int) -> str:
    """Return what the column of what a filter keeps is called."""
    return f"filter {number}"


def _mask(each: HistoryFilter, table: Table, time: str | None) -> pl.Series:
    """Return which events (R,) of a table a filter keeps."""
    import polars as pl

    from lightning_croloss.data.table.conversion import parse_bound, to_times
    from lightning_croloss.data.table.event_features import numbers_or_missing, texts_or_missing
    from lightning_croloss.data.table.sources import texts_of

    if each.kind == RANGE:
        return pl.Series(within(numbers_or_missing(table, str(each.column)), each.keep))
    if each.kind == FROM:
        column = str(_column_of(each, time))
        times, dates = to_times(table, column)
        if dates != isinstance(each.keep, str):
            raise DataError(
                f"{table.name}: column {column!r} holds {DATES if dates else NUMBERS}, but training left out "
                f"{each.leaves_out}: give times in the same way, or --all-events to keep all"
            )
        return pl.Series(times >= parse_bound(FROM, each.keep, dates))
    column = texts_of(table.files, str(each.column))
    series = table.frame[column]
    if series.dtype.is_float() and (series == series.round()).all():  # 5 is not spelt 5.0 in training
        table.frame = table.frame.with_columns(series.cast(pl.Int64))
    return texts_or_missing(table, column).is_in(each.keep).fill_null(False)

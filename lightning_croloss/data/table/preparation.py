"""From the files of a table to filtered Interactions; imported only when a table is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.progress import Stages
from lightning_croloss.data.report import COUNTING, PreparationReport
from lightning_croloss.data.table.conversion import factorize, parse_bound, to_numbers, to_text, to_times
from lightning_croloss.data.table.event_features import columns_to_read, event_columns
from lightning_croloss.data.table.filters import (
    Events,
    with_minimum_counts,
    without_duplicates,
    without_repeats,
)
from lightning_croloss.data.table.reading import Table, read_table, with_missing
from lightning_croloss.data.table.recording import Recording
from lightning_croloss.data.table.sources import TableFile, event_files, texts_of
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.errors import DataError

#: The largest weight of an event: weights are float32.
_HEAVIEST = float(np.finfo(np.float32).max)


def prepare(spec: TableSpec) -> tuple[Interactions, PreparationReport]:
    """Read, filter and number the events.

    Raises:
        DataError: if the files cannot be used, or nothing is left after the filters.
    """
    files, part_of_file = event_files(spec)
    with Stages(len(files) + 3) as stages:
        recording = Recording(spec)
        read = read_events(spec, files, recording, part_of_file, stages.begin)
        events, report = _with_minimum_counts(read.events, spec, recording), recording.report
        if not len(events):
            raise nothing_left(read.name, report)
        stages.begin("numbering users and items")
        return _numbered(dated(events, read.dates), read.user_tokens, read.item_tokens), report


@dataclass(frozen=True)
class ReadEvents:
    """Events after all filters but those that count the events of a user or an item.

    Attributes:
        events: the events, in order.
        user_tokens: tokens of the users' positions.
        item_tokens: tokens of the items' positions.
        dates: whether the times are dates.
        name: what errors call the table.
    """

    events: Events
    user_tokens: NDArray[Any]
    item_tokens: NDArray[Any]
    dates: bool
    name: str


def read_events(
    spec: TableSpec,
    files: Sequence[TableFile],
    recording: Recording,
    part_of_file: list[int] | None = None,
    begin: Callable[[str], None] = lambda what: None,
    known: Callable[[Table, str], tuple[NDArray[np.int64], NDArray[Any]]] = factorize,
) -> ReadEvents:
    """Read the events, and apply all filters but those that count the events of a user or an item.

    Args:
        spec: the columns and the filters.
        files: the files.
        recording: is told of each step.
        part_of_file: the part of each file, if these are the parts of a split.
        begin: is told what is being done.
        known: returns the positions of the tokens of a column among tokens, and these.

    Raises:
        DataError: if the files cannot be used.
    """
    columns = spec.columns
    if spec.part_column is not None:
        columns["split's column"] = texts_of(files, spec.part_column)
    needed = list(columns.values())
    spec.check_event_features(files[0].columns)
    features = [entry for entry in spec.event_features if entry != spec.time_column]
    columns |= columns_to_read(files, features)
    table = read_table(files, columns, begin)
    begin("checking the columns")
    table.frame = with_missing(table.frame, spec.missing_values)
    recording.begin(table)
    _drop_missing(table, spec, recording, needed)

    users, user_tokens = known(table, spec.user_column)
    items, item_tokens = known(table, spec.item_column)
    weights = _weights(table, spec)
    times, dates = (None, False) if spec.time_column is None else to_times(table, spec.time_column)
    parts, features_read = _parts(table, part_of_file, spec), event_columns(table, features)
    events = Events(users, items, times, weights, parts, features_read)
    begin("filtering")
    if spec.value_column is not None:
        events = events.take(_within_values(table, spec.value_column, spec))
        reason = _range(spec.value_column, spec.min_value, spec.max_value, "at most")
        recording.events("value", reason, events)
    if spec.time_from is not None or spec.time_until is not None:
        events = _within_times(events, spec, dates)
        reason = _range(spec.time_column or "", spec.time_from, spec.time_until, "before")
        recording.events("time", reason, events)
    events = _filtered(events.in_order(), spec, recording)
    return ReadEvents(events, user_tokens, item_tokens, dates, table.name)


def dated(events: Events, dates: bool) -> Events:
    """Return events whose times are marked as dates, if they are."""
    if dates and events.times is not None:
        return replace(events, times=events.times.view("datetime64[ns]"))
    return events


def nothing_left(name: str, report: PreparationReport) -> DataError:
    """Return what to say of a table that the filters leave nothing of."""
    return DataError(f"{name}: nothing is left after the filters ({report}): make them milder")


def _weights(table: Table, spec: TableSpec) -> NDArray[np.float64] | None:
    if spec.weight_column is None:
        return None
    weights = to_numbers(table, spec.weight_column)
    for wrong, fault in (
        (weights < 0, "below 0"),
        (weights > _HEAVIEST, "beyond float32: divide all weights by one number"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"{table.location(row)}: column {spec.weight_column!r} holds {weights[row]}, {fault}"
            )
    return weights


def _parts(table: Table, part_of_file: list[int] | None, spec: TableSpec) -> NDArray[np.int8] | None:
    """Return the part of each row, if the split is predefined."""
    if part_of_file is not None:
        lengths = np.diff([0, *table.ends])
        return np.repeat(np.array(part_of_file, dtype=np.int8), lengths)[table.rows]
    if spec.split is None or spec.split.column is None:
        return None
    numbers = {name: part for part, name in spec.split.names.items()}
    texts = to_text(table, table.frame[texts_of(table.files, spec.split.column)], "the name of a part")
    parts = texts.replace_strict(numbers, default=None, return_dtype=pl.Int8)
    if parts.null_count():
        row = int(parts.is_null().arg_max() or 0)
        raise DataError(
            f"{table.location(row)}: column {spec.split.column!r} holds {texts[row]!r}, but the split knows "
            f"{', '.join(map(repr, numbers))} only: name the values, or take the others out"
        )
    return parts.to_numpy()


def _drop_missing(table: Table, spec: TableSpec, recording: Recording, needed: list[str]) -> None:
    """Leave out rows that lack a needed value if that is wanted; else refuse them."""
    if table.left_out.blank:
        comments = " and comments" if spec.comment is not None else ""
        recording.rows("blank", f"blank lines{comments}", table)
    missing = table.frame.select(pl.any_horizontal(pl.col(needed).is_null())).to_series()
    if spec.drop_missing:
        table.keep(~missing)
        recording.rows("drop_missing", "rows with a missing value", table)
    elif missing.any():
        row = int(missing.arg_max() or 0)
        column = table.first_missing(row, needed)
        raise DataError(
            f"{table.location(row)}: column {column!r} has no value ({int(missing.sum())} such rows): fill "
            "it, or set drop_missing to true to leave these rows out"
        )


def _within_values(table: Table, column: str, spec: TableSpec) -> NDArray[np.bool_]:
    values = to_numbers(table, column)
    low = -np.inf if spec.min_value is None else spec.min_value
    high = np.inf if spec.max_value is None else spec.max_value
    return (values >= low) & (values <= high)


def _within_times(events: Events, spec: TableSpec, dates: bool) -> Events:
    assert events.times is not None
    kept = np.ones(len(events), dtype=np.bool_)
    if spec.time_from is not None:
        kept &= events.times >= parse_bound("time_from", spec.time_from, dates)
    if spec.time_until is not None:
        kept &= events.times < parse_bound("time_until", spec.time_until, dates)
    return events.take(kept)


def _range(column: str, low: object, high: object, upper: str) -> str:
    ends = [f"at least {low}" * (low is not None), f"{upper} {high}" * (high is not None)]
    return f"{column} not {' and '.join(end for end in ends if end)}"


def _filtered(events: Events, spec: TableSpec, recording: Recording) -> Events:
    """Apply the filters that need the order of the events."""
    if spec.duplicates != "all":
        events = without_duplicates(events, spec.duplicates)
        recording.events("duplicates", f"not the user's {spec.duplicates} event with the item", events)
    if not spec.consecutive_repeats:
        events = without_repeats(events)
        recording.events("consecutive_repeats", "same item as the user's event before", events)
    return events


def _with_minimum_counts(events: Events, spec: TableSpec, recording: Recording) -> Events:
    if (reason := counting_reason(spec)) is not None:
        per_user, per_item = spec.min_user_interactions, spec.min_item_interactions
        events = with_minimum_counts(events, per_user, per_item, spec.k_core)
        recording.events(COUNTING, reason, events)
    return events


def counting_reason(spec: TableSpec) -> str | None:
    """Return what the events have in common that are left out for the counts of a user or item.

    None if there is no such filter.
    """
    minima = (("items", spec.min_item_interactions), ("users", spec.min_user_interactions))
    reasons = [f"{name} with fewer than {minimum}" for name, minimum in minima if minimum > 1]
    repeated = ", repeatedly" if spec.k_core else ""
    return f"{' or '.join(reasons)} interactions{repeated}" if reasons else None


def _numbered(events: Events, user_tokens: NDArray[Any], item_tokens: NDArray[Any]) -> Interactions:
    """Give ids to the users and items that are left, in the order of their tokens."""
    users, user_vocabulary = _compact(events.users, user_tokens)
    items, item_vocabulary = _compact(events.items, item_tokens)
    return Interactions.from_ids(
        users,
        items,
        user_vocabulary,
        item_vocabulary,
        events.times,
        events.weights,
        events.parts,
        events.columns,
    )


def _compact(positions: NDArray[np.int64], tokens: NDArray[Any]) -> tuple[NDArray[np.int64], Vocabulary]:
    present = np.bincount(positions, minlength=len(tokens)) > 0
    return np.cumsum(present, dtype=np.int64)[positions], Vocabulary(tokens[present])

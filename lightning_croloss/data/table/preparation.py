"""From the files of a table to filtered Interactions; imported only when a table is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.event_feature_names import split_event_feature
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.progress import Stages
from lightning_croloss.data.report import COUNTING, Counts, PreparationReport
from lightning_croloss.data.table.conversion import factorize, parse_bound, to_numbers, to_times
from lightning_croloss.data.table.event_features import event_columns
from lightning_croloss.data.table.filters import (
    Events,
    with_minimum_counts,
    without_duplicates,
    without_repeats,
)
from lightning_croloss.data.table.reading import Table, describe_comments, read_table
from lightning_croloss.data.table.sources import TableFile, event_files
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.errors import DataError


def prepare(spec: TableSpec) -> tuple[Interactions, PreparationReport]:
    """Read, filter and number the events.

    Raises:
        DataError: if the files cannot be used, or nothing is left after the filters.
    """
    files, part_of_file = event_files(spec)
    with Stages(len(files) + 3) as stages:
        return _prepare(spec, files, part_of_file, stages)


def _prepare(
    spec: TableSpec, files: list[TableFile], part_of_file: list[int] | None, stages: Stages
) -> tuple[Interactions, PreparationReport]:
    columns = spec.columns
    if spec.part_column is not None:
        columns["split's column"] = spec.part_column
    needed = list(columns.values())
    spec.check_event_features(files[0].columns)
    features = [entry for entry in spec.event_features if entry != spec.time_column]
    names = [split_event_feature(entry, files[0].columns)[0] for entry in features]
    columns |= {f"event_features ({name!r})": name for name in names}
    table = read_table(files, columns, stages.begin)
    stages.begin("checking the columns")
    if spec.missing_values:
        table.frame = table.frame.with_columns(pl.col(pl.String).replace(list(spec.missing_values), None))
    report = _report(table, spec)
    _drop_missing(table, spec, report, needed)

    users, user_tokens = factorize(table, spec.user_column)
    items, item_tokens = factorize(table, spec.item_column)
    weights = _weights(table, spec)
    times, dates = (None, False) if spec.time_column is None else to_times(table, spec.time_column)
    parts, features_read = _parts(table, part_of_file, spec), event_columns(table, features)
    events = Events(users, items, times, weights, parts, features_read)
    stages.begin("filtering")
    if spec.value_column is not None:
        events = events.take(_within_values(table, spec.value_column, spec))
        reason = _range(spec.value_column, spec.min_value, spec.max_value, "at most")
        report.add("value", reason, events.counts)
    if spec.time_from is not None or spec.time_until is not None:
        events = _within_times(events, spec, dates)
        reason = _range(spec.time_column or "", spec.time_from, spec.time_until, "before")
        report.add("time", reason, events.counts)
    events = _filtered(events.in_order(), spec, report)
    if not len(events):
        raise DataError(f"{table.name}: nothing is left after the filters ({report}): make them milder")
    if dates and events.times is not None:
        events = replace(events, times=events.times.view("datetime64[ns]"))
    stages.begin("numbering users and items")
    return _numbered(events, user_tokens, item_tokens), report


def _weights(table: Table, spec: TableSpec) -> NDArray[np.float64] | None:
    if spec.weight_column is None:
        return None
    weights = to_numbers(table, spec.weight_column)
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise DataError(f"{table.location(row)}: column {spec.weight_column!r} holds {weights[row]}, below 0")
    return weights


def _parts(table: Table, part_of_file: list[int] | None, spec: TableSpec) -> NDArray[np.int8] | None:
    """Return the part of each row, if the split is predefined."""
    if part_of_file is not None:
        lengths = np.diff([0, *table.ends])
        return np.repeat(np.array(part_of_file, dtype=np.int8), lengths)[table.rows]
    if spec.split is None or spec.split.column is None:
        return None
    numbers = {name: part for part, name in spec.split.names.items()}
    texts = table.frame[spec.split.column].cast(pl.String)
    parts = texts.replace_strict(numbers, default=None, return_dtype=pl.Int8)
    if parts.null_count():
        row = int(parts.is_null().arg_max() or 0)
        raise DataError(
            f"{table.location(row)}: column {spec.split.column!r} holds {texts[row]!r}, but the split knows "
            f"{', '.join(map(repr, numbers))} only: name the values, or take the others out"
        )
    return parts.to_numpy()


def _counts(table: Table, spec: TableSpec) -> Counts:
    columns = (table.frame[column].drop_nulls() for column in (spec.user_column, spec.item_column))
    return Counts(table.frame.height, *(column.n_unique() for column in columns))


def _report(table: Table, spec: TableSpec) -> PreparationReport:
    """Begin the record, with what reading left out."""
    left_out, counts = table.left_out, _counts(table, spec)
    counts = replace(counts, interactions=counts.interactions + left_out.blank)
    read = replace(counts, interactions=counts.interactions + left_out.ragged)
    report = PreparationReport([file.path.name for file in table.files], read)
    if spec.ragged == "drop" and table.files[0].is_text:
        report.add("ragged", "lines of another number of fields than the header", counts)
    if left_out.comments:
        report.notes.append(f"{table.name}: {describe_comments(left_out)}")
    return report


def _drop_missing(table: Table, spec: TableSpec, report: PreparationReport, needed: list[str]) -> None:
    """Leave out blank lines, and rows that lack a needed value if that is wanted; else refuse them."""
    frame = table.frame
    missing = frame.select(pl.any_horizontal(pl.col(needed).is_null())).to_series()
    if table.files[0].is_text and (missing.any() or table.left_out.blank):
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        if blank.any() or table.left_out.blank:
            table.keep(~blank)
            comments = " and comments" if spec.comment is not None else ""
            report.add("blank", f"blank lines{comments}", _counts(table, spec))
            missing = missing.filter(~blank)
    if spec.drop_missing:
        table.keep(~missing)
        report.add("drop_missing", "rows with a missing value", _counts(table, spec))
    elif missing.any():
        row = int(missing.arg_max() or 0)
        column = next(name for name in needed if table.frame[name][row] is None)
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


def _filtered(events: Events, spec: TableSpec, report: PreparationReport) -> Events:
    """Apply the filters that need the order of the events."""
    if spec.duplicates != "all":
        events = without_duplicates(events, spec.duplicates)
        report.add("duplicates", f"not the user's {spec.duplicates} event with the item", events.counts)
    if not spec.consecutive_repeats:
        events = without_repeats(events)
        report.add("consecutive_repeats", "same item as the user's event before", events.counts)
    per_user, per_item = spec.min_user_interactions, spec.min_item_interactions
    if per_user > 1 or per_item > 1:
        events = with_minimum_counts(events, per_user, per_item, spec.k_core)
        reasons = [
            f"{name} with fewer than {minimum}"
            for name, minimum in (("items", per_item), ("users", per_user))
            if minimum > 1
        ]
        repeated = ", repeatedly" if spec.k_core else ""
        report.add(COUNTING, f"{' or '.join(reasons)} interactions{repeated}", events.counts)
    return events


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

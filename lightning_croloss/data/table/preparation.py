"""From the files of a TableDataModule to filtered Interactions; imported only when a table is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.progress import Stages
from lightning_croloss.data.report import Counts, PreparationReport
from lightning_croloss.data.splits import Predefined, Split
from lightning_croloss.data.table import conversion
from lightning_croloss.data.table.filters import (
    Events,
    with_minimum_counts,
    without_duplicates,
    without_repeats,
)
from lightning_croloss.data.table.reading import Table, TableFile, find_files, part_path, read_table
from lightning_croloss.errors import DataError

if TYPE_CHECKING:
    from lightning_croloss.data.table.datamodule import TableDataModule


def prepare(module: TableDataModule) -> tuple[Interactions, PreparationReport]:
    """Read, filter and number the events.

    Raises:
        DataError: if the files cannot be used, or nothing is left after the filters.
    """
    files, part_of_file = event_files(module)
    with Stages(len(files) + 3) as stages:
        return _prepare(module, files, part_of_file, stages)


def _prepare(
    module: TableDataModule, files: list[TableFile], part_of_file: list[int] | None, stages: Stages
) -> tuple[Interactions, PreparationReport]:
    columns = module.columns
    if isinstance(module.split, Predefined) and module.split.column is not None:
        columns = {**columns, "split's column": module.split.column}
    table = read_table(files, columns, stages.begin)
    stages.begin("checking the columns")
    if module.missing_values:
        table.frame = table.frame.with_columns(pl.col(pl.String).replace(list(module.missing_values), None))
    report = PreparationReport([file.path.name for file in table.files], _counts(table, module))
    _drop_missing(table, module, report)

    user_column, item_column = module.columns["user_column"], module.columns["item_column"]
    users, user_tokens = conversion.factorize(table, user_column)
    items, item_tokens = conversion.factorize(table, item_column)
    weights = None
    if weight_column := module.columns.get("weight_column"):
        weights = conversion.numbers(table, weight_column)
        if (weights < 0).any():
            place = int(np.argmax(weights < 0))
            raise DataError(f"{table.place(place)}: column {weight_column!r} holds {weights[place]}, below 0")
    times, dates = None, False
    if time_column := module.columns.get("time_column"):
        times, dates = conversion.times(table, time_column)

    events = Events(users, items, times, weights, _parts(table, part_of_file, module.split))
    stages.begin("filtering")
    kept = _within_values(table, module)
    if kept is not None:
        events = events.take(kept)
        report.add(
            "value", _range(module.columns["value_column"], *module.value_range, "at most"), events.counts
        )
    if module.time_window != (None, None):
        events = _within_times(events, module, dates)
        report.add("time", _range(time_column or "", *module.time_window, "before"), events.counts)
    events = _filtered(events.in_order(), module, report)
    if not len(events):
        raise DataError(f"{table.name}: nothing is left after the filters ({report}): make them milder")
    if dates and events.times is not None:
        events = replace(events, times=events.times.view("datetime64[ns]"))
    stages.begin("numbering users and items")
    return _numbered(events, user_tokens, item_tokens), report


def event_files(module: TableDataModule) -> tuple[list[TableFile], list[int] | None]:
    """Return the files of the events and, if they are the parts of a predefined split, the part of each.

    Raises:
        DataError: if there are no such files.
    """
    given, split = module.files["interactions"], module.split
    assert given is not None
    if not isinstance(split, Predefined) or split.column is not None:
        return find_files("interactions", given, ".inter", module.separator), None
    files: list[TableFile] = []
    parts: list[int] = []
    for part, name in split.names.items():
        found = find_files("interactions", part_path(given, name), ".inter", module.separator)
        files += found
        parts += [part] * len(found)
    return files, parts


def _parts(table: Table, part_of_file: list[int] | None, split: Split) -> NDArray[np.int8] | None:
    """Return the part of each row, if the split is predefined."""
    if part_of_file is not None:
        lengths = np.diff([0, *table.ends])
        return np.repeat(np.array(part_of_file, dtype=np.int8), lengths)[table.rows]
    if not isinstance(split, Predefined) or split.column is None:
        return None
    numbers = {name: part for part, name in split.names.items()}
    texts = table.frame[split.column].cast(pl.String)
    parts = texts.replace_strict(numbers, default=None, return_dtype=pl.Int8)
    if parts.null_count():
        place = int(parts.is_null().arg_max() or 0)
        raise DataError(
            f"{table.place(place)}: column {split.column!r} holds {texts[place]!r}, but the split knows "
            f"{', '.join(map(repr, numbers))} only: name the values, or take the others out"
        )
    return parts.to_numpy()


def _counts(table: Table, module: TableDataModule) -> Counts:
    columns = (table.frame[module.columns[role]].drop_nulls() for role in ("user_column", "item_column"))
    return Counts(table.frame.height, *(column.n_unique() for column in columns))


def _drop_missing(table: Table, module: TableDataModule, report: PreparationReport) -> None:
    """Leave out blank lines, and rows that lack a value if that is wanted; else refuse them."""
    frame = table.frame
    missing = frame.select(pl.any_horizontal(pl.all().is_null())).to_series()
    if table.files[0].is_text and missing.any():
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        if blank.any():
            table.keep(~blank)
            report.add("blank", "blank lines", _counts(table, module))
            missing = missing.filter(~blank)
    if module.drop_missing:
        table.keep(~missing)
        report.add("drop_missing", "rows with a missing value", _counts(table, module))
    elif missing.any():
        place = int(missing.arg_max() or 0)
        column = next(name for name in table.frame.columns if table.frame[name][place] is None)
        raise DataError(
            f"{table.place(place)}: column {column!r} has no value ({int(missing.sum())} such rows): fill "
            "it, or set drop_missing to true to leave these rows out"
        )


def _within_values(table: Table, module: TableDataModule) -> NDArray[np.bool_] | None:
    column = module.columns.get("value_column")
    if column is None:
        return None
    values = conversion.numbers(table, column)
    low, high = module.value_range
    return (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))


def _within_times(events: Events, module: TableDataModule, dates: bool) -> Events:
    assert events.times is not None
    kept = np.ones(len(events), dtype=np.bool_)
    begin, end = module.time_window
    if begin is not None:
        kept &= events.times >= conversion.parse_bound("time_from", begin, dates)
    if end is not None:
        kept &= events.times < conversion.parse_bound("time_until", end, dates)
    return events.take(kept)


def _range(column: str, low: object, high: object, upper: str) -> str:
    ends = [f"at least {low}" * (low is not None), f"{upper} {high}" * (high is not None)]
    return f"{column} not {' and '.join(end for end in ends if end)}"


def _filtered(events: Events, module: TableDataModule, report: PreparationReport) -> Events:
    """Apply the filters that need the order of the events."""
    if module.duplicates != "all":
        events = without_duplicates(events, module.duplicates)
        report.add("duplicates", f"not the user's {module.duplicates} event with the item", events.counts)
    if not module.consecutive_repeats:
        events = without_repeats(events)
        report.add("consecutive_repeats", "same item as the user's event before", events.counts)
    per_user, per_item = module.min_user_interactions, module.min_item_interactions
    if per_user > 1 or per_item > 1:
        events = with_minimum_counts(events, per_user, per_item, module.k_core)
        reasons = [
            f"{name} with fewer than {minimum}"
            for name, minimum in (("items", per_item), ("users", per_user))
            if minimum > 1
        ]
        repeated = ", repeatedly" if module.k_core else ""
        report.add("min_interactions", f"{' or '.join(reasons)} interactions{repeated}", events.counts)
    return events


def _numbered(events: Events, user_tokens: NDArray[Any], item_tokens: NDArray[Any]) -> Interactions:
    """Give ids to the users and items that are left, in the order of their tokens."""
    users, user_vocabulary = _compact(events.users, user_tokens)
    items, item_vocabulary = _compact(events.items, item_tokens)
    return Interactions.from_ids(
        users, items, user_vocabulary, item_vocabulary, events.times, events.weights, events.parts
    )


def _compact(places: NDArray[np.int64], tokens: NDArray[Any]) -> tuple[NDArray[np.int64], Vocabulary]:
    present = np.bincount(places, minlength=len(tokens)) > 0
    return np.cumsum(present, dtype=np.int64)[places], Vocabulary(tokens[present])

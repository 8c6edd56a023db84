"""A table of events for ``croloss recommend``, read and ordered as the model's training read its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from croloss_serving.recommend.event_inputs import DATES, NUMBERS, EventInputs
from croloss_serving.recommend.unread import unread_sentence
from lightning_croloss.cli.recommend.event_filters import filters_for
from lightning_croloss.cli.recommend.options import ITEM_COLUMN, LIST_COLUMN, USER_COLUMN
from lightning_croloss.data.history_filters import MISSING_IN_FEATURES
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.errors import DataError, MissingExtraError, suggest

if TYPE_CHECKING:
    import polars as pl

    from lightning_croloss.data.table.reading import Table
    from lightning_croloss.data.table.sources import TableFile

Result = TypeVar("Result")


@dataclass
class EventTable:
    """Events in the order in which they count.

    Attributes:
        frame: the columns ``user`` and ``item``, integers or text; for a model that reads them ``time``,
            numbers or date-times, and ``feature 0`` … with the features of events; where there are filters
            of training ``KEPT``, which says whether the event is one of its user's history.
        notes: sentences about the order, and about what was left out.
    """

    frame: pl.DataFrame
    notes: list[str] = field(default_factory=list)


def read_event_table(
    given: argparse.Namespace, trained: Mapping[str, Any] | None, events: EventInputs | None = None
) -> EventTable:
    """Read the events of ``--histories``.

    Args:
        given: the options of the command, None where they were not given.
        trained: how the model's training read its events; None if that is not known.
        events: what the model reads of events besides their items; None = nothing.

    Raises:
        DataError: a file or a column is missing, or cannot be used.
    """
    inputs = events or EventInputs()
    return first_that_reads(given, trained, lambda options: _read(given, trained, options, inputs))


def first_that_reads(
    given: argparse.Namespace, trained: Mapping[str, Any] | None, read: Callable[[ReadingOptions], Result]
) -> Result:
    """Return what the likeliest options give with which a table can be read.

    Args:
        given: the options of the command, None where they were not given.
        trained: how the model's training read its events; None if that is not known.
        read: reads the table with options.

    Raises:
        DataError: the table cannot be read with any; the failure that says most.
        MissingExtraError: polars or pyarrow is not installed.
    """
    _need_polars()
    failures: list[DataError] = []
    for options in _candidates(given, trained or {}):
        try:
            return read(options)
        except DataError as error:
            failures.append(error)
    raise _telling(failures)


def _read(
    given: argparse.Namespace,
    trained: Mapping[str, Any] | None,
    options: ReadingOptions,
    events: EventInputs,
) -> EventTable:
    import polars as pl

    from lightning_croloss.data.table.conversion import to_times
    from lightning_croloss.data.table.reading import describe_comments, read_table, with_missing
    from lightning_croloss.data.table.sources import find_files, texts_of

    known = trained or {}
    files = find_files("--histories", given.histories, ".inter", options)
    user = column_of(given.user_column, known.get("user_column"), USER_COLUMN, files)
    item = column_of(given.item_column, known.get("item_column"), ITEM_COLUMN, files)
    if item not in files[0].columns and LIST_COLUMN in files[0].columns:
        raise DataError(
            f"{given.histories}: {files[0].path.name} holds lists, which are read from one Parquet file, or "
            "from a folder of them into a folder (--output)"
        )
    time, order = _time_column(given.time_column, trained, files)
    columns = {"--user-column": user, "--item-column": item}
    if events.times is not None and time is None:
        usual = str(known.get("time_column") or "timestamp")
        raise DataError(
            f"{files[0].path.name}: the model reads the times of events, but no column of them is known: "
            f"name it by --time-column{suggest(usual, files[0].columns)}"
        )
    columns |= {"--time-column": time} if time is not None else {}
    needed = list(columns.values())
    if len(set(needed)) < len(needed):
        twice = next(column for column in needed if needed.count(column) > 1)
        both = " and ".join(option for option, column in columns.items() if column == twice)
        raise DataError(f"{both} are the same column {twice!r}: each needs a column of its own")
    for name in events.names:
        if not all(name in file.columns for file in files):
            raise DataError(
                f"{files[0].path.name} has no column {name!r}, which the model reads of events"
                f"{suggest(name, files[0].columns)}"
            )
    of_features = {
        each.name: each.name if each.kind == "numeric" else texts_of(files, each.name)
        for each in events.encodings
    }
    filters = filters_for(trained, files, time, bool(given.all_events))
    features = {f"the feature {name!r}": of for name, of in of_features.items()}
    table = read_table(files, columns | features | filters.columns)
    notes = [*([order] if order else []), *filters.notes]
    beside = {of for name in files[0].columns if (of := texts_of(files, name)) != name}
    read = {*needed, *events.names, *beside, known.get("time_column"), *filters.columns.values()}
    if unread := [name for name in files[0].columns if name not in read]:
        notes.append(unread_sentence("the model", unread, "events", events.names))
    missing, missing_in_features = missing_values(given, trained)
    table.frame = with_missing(table.frame, missing)
    drop = given.drop_missing if given.drop_missing is not None else known.get("drop_missing", False)
    needed = list(dict.fromkeys([*needed, *filters.needed, *(filters.if_dropped if drop else ())]))
    if dropped := _without_missing(table, drop, needed):
        notes.append(f"{dropped:,} events that lack a value are left out")
    if table.left_out.ragged:
        notes.append(
            f"{table.left_out.ragged:,} lines of another number of fields than the header are left out"
        )
    if table.left_out.comments:
        notes.append(describe_comments(table.left_out))
    tokens = {"user": tokens_of(table, user), "item": tokens_of(table, item)}
    to_features = replace(table, frame=with_missing(table.frame, missing_in_features))
    frame = pl.DataFrame(tokens).with_columns(
        *_features(to_features, events, of_features), *filters.masks(table, time)
    )
    if time is not None:
        times, dates = to_times(table, time)
        is_read = events.times is not None
        if is_read and dates != (events.times == DATES):
            raise DataError(
                f"{table.name}: column {time!r} holds {DATES if dates else NUMBERS}, but the times of the "
                f"model's training were {events.times}: give them in the same way"
            )
        ordered = pl.Series(times).cast(pl.Datetime("ns")) if dates else pl.Series(times)
        frame = frame.with_columns(time=ordered).sort("time", maintain_order=True)
        frame = frame if is_read else frame.drop("time")
    return EventTable(filters.mark(frame), notes)


def missing_values(
    given: argparse.Namespace, trained: Mapping[str, Any] | None
) -> tuple[Sequence[str], Sequence[str]]:
    """Return the texts that mean "missing" wherever they stand, and those that do so in features.

    Args:
        given: the options of the command, None where they were not given.
        trained: how the model's training read its events; None if that is not known.
    """
    if given.missing_values is not None:
        return given.missing_values, given.missing_values
    known = trained or {}
    anywhere = known.get("missing_values") or []
    return anywhere, [*anywhere, *(known.get(MISSING_IN_FEATURES) or [])]


def _features(table: Table, events: EventInputs, columns: Mapping[str, str]) -> list[pl.Series]:
    """Return the features of events that a model reads, None where one is missing.

    Args:
        table: the events.
        events: what the model reads of them.
        columns: the column of each feature.
    """
    import polars as pl

    from lightning_croloss.data.table.event_features import numbers_or_missing, texts_or_missing

    found = []
    for number, encoding in enumerate(events.encodings):
        if encoding.kind == "numeric":
            column = pl.Series(numbers_or_missing(table, encoding.name))
        else:
            column = table.frame[columns[encoding.name]]
            if not (column.dtype.is_integer() or column.dtype.is_float()):  # 5 may be spelt 5.0 in training
                column = texts_or_missing(table, columns[encoding.name])
        found.append(column.alias(f"feature {number}"))
    return found


def _without_missing(table: Table, drop: bool, needed: Sequence[str]) -> int:
    """Leave out events that lack a value, or refuse them; return how many."""
    import polars as pl

    missing = table.frame.select(pl.any_horizontal(pl.col(needed).is_null())).to_series()
    if drop:
        table.keep(~missing)
    elif missing.any():
        row = int(missing.arg_max() or 0)
        name = table.first_missing(row, needed)
        raise DataError(
            f"{table.location(row)}: column {name!r} has no value: every event needs one, or give "
            "--drop-missing to leave such events out"
        )
    return int(missing.sum()) if drop else 0


def tokens_of(table: Table, column: str) -> pl.Series:
    """Return users or items as integers or text; floats become the integers that they are."""
    from lightning_croloss.data.table.conversion import holds_tokens, refuse_kinds, whole_numbers

    refuse_kinds(table, column, holds_tokens, "it must be integers or text")
    series = table.frame[column]
    return whole_numbers(table, column) if series.dtype.is_float() else series


def column_of(given: str | None, trained: str | None, usual: str, files: Sequence[TableFile]) -> str:
    """Return the column that was given, else that of training if the files have it, else the usual one."""
    if given is not None:
        return given
    in_all = trained is not None and all(trained in file.columns for file in files)
    usual_in_all = all(usual in file.columns for file in files)
    return trained if trained is not None and (in_all or not usual_in_all) else usual


def _time_column(
    given: str | None, trained: Mapping[str, Any] | None, files: Sequence[TableFile]
) -> tuple[str | None, str]:
    """Return the column that orders the events, None for the order of the rows, and a sentence about it."""
    if given is not None:
        return given or None, ""
    if trained is None or "time_column" not in trained:
        return None, (
            "the events are taken in the order of the rows: the model does not say how its training ordered "
            "them (--time-column names a column)"
        )
    column = trained["time_column"]
    if column is None:
        return None, "the events are taken in the order of the rows, as in training"
    if all(column in file.columns for file in files):
        return column, f"the events are ordered by the column {column!r}, as in training"
    return None, (
        f"the events are taken in the order of the rows: the table has no column {column!r}, by which "
        "training ordered them (--time-column names another)"
    )


def _candidates(given: argparse.Namespace, trained: Mapping[str, Any]) -> Iterator[ReadingOptions]:
    """Yield options to read with, the likeliest first.

    What the user says holds. Of what training read with, separator and encoding are of those files: this one
    is read as its header and UTF-8 say if that works, else as training read its own.
    """

    def chosen(name: str, usual: Any = None) -> Any:
        said = getattr(given, name)
        return said if said is not None else trained.get(name, usual)

    def tries(name: str) -> list[Any]:
        said = getattr(given, name)
        return [said] if said is not None else list(dict.fromkeys([None, trained.get(name)]))

    for encoding in tries("encoding"):
        for separator in tries("separator"):
            decimal = chosen("decimal", ".")
            yield ReadingOptions(
                separator,
                encoding,
                "." if decimal == separator and given.decimal is None else decimal,
                chosen("comment"),
                chosen("ragged", "error"),
                chosen("quotes", "auto"),
            )


def _telling(failures: Sequence[DataError]) -> DataError:
    """Return the failure that says most: of a file that is not UTF-8, the last try's."""
    from lightning_croloss.data.table.content import NotUTF8Error

    return next((error for error in reversed(failures) if not isinstance(error, NotUTF8Error)), failures[0])


def _need_polars() -> None:
    """Raise ``MissingExtraError`` if a table cannot be read."""
    try:
        import polars  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error

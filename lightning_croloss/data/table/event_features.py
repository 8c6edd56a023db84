"""Features of events from the columns of a table."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.event_columns import KINDS, EventColumn
from lightning_croloss.data.event_feature_names import split_event_feature
from lightning_croloss.data.features import KIND_OF_TYPE
from lightning_croloss.data.table.conversion import parse_numbers, to_numbers, to_text
from lightning_croloss.data.table.reading import Table
from lightning_croloss.data.table.sources import TableFile, texts_of
from lightning_croloss.errors import DataError


def columns_to_read(files: Sequence[TableFile], wanted: Sequence[str]) -> dict[str, str]:
    """Return for each feature of events, as errors call it, the column that is read for it.

    Args:
        files: the files.
        wanted: names of columns, or ``"name:kind"``.
    """
    found = {}
    for entry in wanted:
        name, kind = split_event_feature(entry, files[0].columns)
        column = texts_of(files, name) if kind == "categorical" else name
        found[f"event_features ({name!r})"] = column
    return found


def event_columns(table: Table, wanted: Sequence[str]) -> tuple[EventColumn, ...]:
    """Return features of events, in the order of the rows.

    Args:
        table: the table.
        wanted: names of its columns, or ``"name:kind"``.

    Raises:
        DataError: a column cannot be a feature, or of this kind.
    """
    found = []
    for entry in wanted:
        name, kind = split_event_feature(entry, table.files[0].columns)
        kind = kind or _kind(table, name)
        if kind == "numeric":
            found.append(EventColumn.of_numbers(name, numbers_or_missing(table, name)))
        else:
            texts = texts_or_missing(table, texts_of(table.files, name))
            found.append(EventColumn.of_texts(name, texts.to_list()))
    return tuple(found)


def numbers_or_missing(table: Table, column: str) -> NDArray[np.float64]:
    """Return numbers (R,), NaN where missing.

    Raises:
        DataError: something is not a finite number.
    """
    present = table.frame[column].is_not_null()
    numbers = np.full(table.frame.height, np.nan)
    if present.any():
        filled = copy.copy(table)
        filled.keep(present)
        numbers[present.to_numpy()] = to_numbers(filled, column)
    return numbers


def texts_or_missing(table: Table, column: str) -> pl.Series:
    """Return the values of a column as texts, None where missing.

    Raises:
        DataError: it holds what has no text, such as lists.
    """
    series = table.frame[column]
    if series.dtype.is_nested():
        raise _no_feature(table, column, series.dtype)
    return to_text(table, series, "a feature of events")


def _no_feature(table: Table, column: str, held: object) -> DataError:
    return DataError(
        f"{table.name}: column {column!r} holds {held}, but a feature of events is one text or number each"
    )


def _kind(table: Table, name: str) -> str:
    """Return the kind of feature that a column is unless the user says otherwise."""
    series = table.frame[name]
    declared = table.files[0].said_of(name)
    kind = KIND_OF_TYPE.get(declared, "")
    if declared in KIND_OF_TYPE:
        pass
    elif declared == "text":  # a CSV file has no types
        kind = "categorical" if parse_numbers(series.drop_nulls(), table.decimal).null_count() else "numeric"
    elif series.dtype.is_numeric():
        kind = "numeric"
    elif series.dtype in (pl.String, pl.Boolean):
        kind = "categorical"
    if kind not in KINDS:
        raise _no_feature(table, name, declared or series.dtype)
    return kind

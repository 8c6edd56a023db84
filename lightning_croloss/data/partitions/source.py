"""The rows of the files that are divided, so many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet

from lightning_croloss.data.partitions.runs import frame_of
from lightning_croloss.data.table.reading import Table, plain_values, refuse_repeated_header
from lightning_croloss.data.table.sources import FAILURES, TableFile, first_line
from lightning_croloss.data.table.text import LeftOut
from lightning_croloss.errors import DataError, suggest


def chosen_columns(
    files: Sequence[TableFile], needed: dict[str, str], wanted: Sequence[str] | None
) -> list[str]:
    """Return the columns that the partitions get, in the order of the first file.

    Args:
        files: the files, which must have the same columns.
        needed: for each option the column that it names.
        wanted: other columns to keep; None = all.

    Raises:
        DataError: a column is missing, or a file has others.
    """
    first = files[0]
    named = {**needed, **{f"columns ({name!r})": name for name in wanted or ()}}
    for file in files:
        for option, column in named.items():
            if column not in file.columns:
                raise DataError(
                    f"{option} names {column!r}, which is not a column of {file.path.name}"
                    f"{suggest(column, file.columns)}"
                )
        if wanted is None and set(file.columns) != set(first.columns):
            other = sorted(set(file.columns) ^ set(first.columns))[0]
            raise DataError(
                f"{first.path.name} and {file.path.name} have different columns, {other!r} for one: name "
                "those to keep by columns"
            )
    chosen = [column for column in first.columns if wanted is None or column in named.values()]
    for file in files:
        for column in chosen:
            if file.columns[column] in ("Int128", "UInt128"):
                raise DataError(
                    f"{file.path.name}: column {column!r} holds {file.columns[column]}, which partitions "
                    "cannot: store it as integers of 64 bits or as text, or leave it out by --columns"
                )
    return chosen


def chunks_of(file: TableFile, columns: Sequence[str], rows: int) -> Iterator[tuple[Table, LeftOut]]:
    """Yield the rows of a file, ``rows`` at a time at most, and what was left out besides.

    Parquet is read in batches; a text file is in memory while it is divided.

    Raises:
        DataError: the file cannot be read.
    """
    if file.text is not None:
        try:
            frame, left_out = file.text.read(list(columns))
            blank = file.text.blank(frame)
        except FAILURES as error:
            raise DataError(f"{file.path.name} cannot be read: {first_line(error)}") from error
        left_out += LeftOut(blank=int(blank.sum()))
        for begin in range(0, frame.height, rows):
            table = _table(file, plain_values(frame[begin : begin + rows]), begin)
            table.keep(~blank[begin : begin + rows])
            refuse_repeated_header(table)
            yield table, left_out
            left_out = LeftOut()
        return
    begin = 0
    for batch in _batches(file, columns, rows):
        yield _table(file, plain_values(batch), begin), LeftOut()
        begin += batch.height


def _batches(file: TableFile, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
    try:
        with parquet.ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(rows, columns=list(columns)):
                yield frame_of(batch).select(columns)
    except (*FAILURES, pa.ArrowException) as error:
        raise DataError(f"{file.path.name} cannot be read: {first_line(error)}") from error


def _table(file: TableFile, frame: pl.DataFrame, begin: int) -> Table:
    numbers = np.arange(begin, begin + frame.height)
    return Table([file], frame, numbers, [np.iinfo(np.int64).max])

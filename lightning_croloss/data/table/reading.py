"""Columns of a table's files, and where a row stands in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.report import first_of
from lightning_croloss.data.table.sources import FAILURES, TableFile, first_line, scan_parquet
from lightning_croloss.data.table.text import LeftOut
from lightning_croloss.errors import DataError, suggest


@dataclass
class Table:
    """Some columns of one or several files, one below the other.

    Attributes:
        files: the files.
        frame: the columns; those of text files are all String.
        rows: (R,) number of each row, counted from 0 over all files.
        ends: for each file the number of rows up to its end.
        left_out: the records of text files that are no rows.
    """

    files: Sequence[TableFile]
    frame: pl.DataFrame
    rows: NDArray[np.int64]
    ends: list[int] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def decimal(self) -> str:
        """What stands before the decimals of numbers in text."""
        return self.files[0].decimal

    @property
    def name(self) -> str:
        """The file, or the first one and how many more there are."""
        return describe(self.files)

    def location(self, position: int) -> str:
        """Return file and row of what is now at ``position``, for an error message."""
        row = int(self.rows[position])
        number = int(np.searchsorted(self.ends, row, side="right"))
        file = self.files[number]
        inside = row - ([0, *self.ends])[number]
        return f"{file.path.name}, " + (
            f"line {file.text.line(inside)}" if file.text else f"row {inside + 1}"
        )

    def keep(self, mask: pl.Series) -> None:
        """Keep the rows that ``mask`` (R,) marks."""
        self.frame = self.frame.filter(mask)
        self.rows = self.rows[mask.to_numpy()]


def describe(files: Sequence[TableFile]) -> str:
    """Return the name of the file, or of the first one and how many more there are."""
    return first_of([file.path.name for file in files])


def describe_comments(left_out: LeftOut) -> str:
    """Say which lines were taken for comments though nobody said so."""
    return (
        f"{left_out.comments} lines that begin with '#' and have another number of fields than the header "
        "are taken for comments"
    )


def read_table(
    files: Sequence[TableFile], columns: Mapping[str, str], begin: Callable[[str], None] = lambda what: None
) -> Table:
    """Read columns, each of which must be in each file.

    Args:
        files: the files.
        columns: for each argument the column that it names.
        begin: is told what is being read, once a file.

    Raises:
        DataError: a column is missing, has no rows, or cannot be read.
    """
    for file in files:
        for argument, column in columns.items():
            if column not in file.columns:
                hint = ""
                if file.text and len(file.columns) == 1:
                    separator = file.text.separator
                    hint = f"; the header has one column only: is the separator really {separator!r}?"
                hint = hint or suggest(column, file.columns)
                if argument == "time_column" and "did you mean" not in hint:
                    hint += "; give null if it has no times, and its rows are in their order"
                raise DataError(
                    f"{argument} names {column!r}, which is not a column of {file.path.name}{hint}"
                )
    names = list(dict.fromkeys(columns.values()))
    frames = []
    left_out = LeftOut()
    for file in files:
        begin(f"reading {file.path.name}")
        frame, more = _read(file, names)
        frames.append(frame)
        left_out += more
    ends = np.cumsum([frame.height for frame in frames]).tolist()
    if not ends[-1]:
        raise DataError(f"{describe(files)} has no rows: it is empty")
    for name in names:
        _check_alike(name, files, [frame[name] for frame in frames])
    try:
        frame = pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the files of {describe(files)} do not fit together: {first_line(error)}") from error
    table = Table(files, frame, np.arange(frame.height), ends, left_out)
    refuse_repeated_header(table)
    return table


def refuse_repeated_header(table: Table) -> None:
    """Refuse a row that repeats the header, as in joined files: its names would become a user and an item.

    Raises:
        DataError: there is one.
    """
    columns = table.files[0].columns
    typed = any(kind != "text" for kind in columns.values())
    if not table.files[0].is_text or not (typed or len(table.frame.columns) > 1):
        return
    names = {name: f"{name}:{columns[name]}" if typed else name for name in table.frame.columns}
    # files that were joined may bring their byte-order marks along
    repeated = table.frame.select(
        pl.all_horizontal(
            pl.col(n).str.strip_chars("\ufeff \t").eq_missing(text.strip()) for n, text in names.items()
        )
    )
    if repeated.to_series().any():
        row = int(repeated.to_series().arg_max() or 0)
        column = next(iter(names))
        raise DataError(
            f"{table.location(row)}: column {column!r} holds {names[column]!r}, the line repeats the header: "
            "remove it"
        )


def _check_alike(name: str, files: Sequence[TableFile], columns: Sequence[pl.Series]) -> None:
    """Refuse columns that polars would bring together by changing their meaning."""
    typed = [(f, c) for f, c in zip(files, columns, strict=True) if c.dtype != pl.Null]
    for file, column in typed:
        first, family = family_of(typed[0][1].dtype), family_of(column.dtype)
        if family != first:
            raise DataError(
                f"column {name!r} holds {first} in {typed[0][0].path.name}, but {family} in "
                f"{file.path.name}: give it one type"
            )
    if len({column.dtype for _, column in typed}) > 1:
        for file, column in typed:  # all may become floats
            if column.dtype.is_integer() and (column.abs().max() or 0) > 2**53:  # type: ignore[operator]
                raise DataError(
                    f"column {name!r} holds integers beyond 2^53 in {file.path.name}, but another type of "
                    "numbers elsewhere: give it one type"
                )


def family_of(kind: pl.DataType) -> str:
    """Return what a type holds, as errors call it: columns of one family can be brought together."""
    if kind == pl.String:
        return "text"
    if kind.is_numeric():
        return "numbers"
    return "dates" if kind == pl.Date or isinstance(kind, pl.Datetime) else str(kind)


def _read(file: TableFile, names: list[str]) -> tuple[pl.DataFrame, LeftOut]:
    try:
        if file.text is None:
            frame, left_out = scan_parquet(file.path).select(names).collect(), LeftOut()
        else:
            frame, left_out = file.text.read(names)
    except FAILURES as error:
        raise DataError(f"{file.path.name} cannot be read: {first_line(error)}") from error
    return plain_values(frame), left_out


def plain_values(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with text for what stands for it, and null for what is missing: "" and NaN."""
    frame = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    return frame.with_columns(
        pl.col(pl.String).replace("", None), pl.col(pl.Float32, pl.Float64).fill_nan(None)
    )

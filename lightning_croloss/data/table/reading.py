"""Columns of a table's files, and where a row stands in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.report import first_of
from lightning_croloss.data.table.joining import join
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
        kinds: the type that each column has in each file, where files were joined.
    """

    files: Sequence[TableFile]
    frame: pl.DataFrame
    rows: NDArray[np.int64]
    ends: list[int] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    kinds: Mapping[str, Sequence[pl.DataType]] = field(default_factory=dict)

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

    def kinds_of(self, column: str) -> list[tuple[TableFile, pl.DataType]]:
        """Return each file with the type that a column has in it, not as it became beside others.

        Files in which the column is empty are left out, unless it is in all.
        """
        kinds = self.kinds.get(column)
        if kinds is None:
            return [(self.files[0], self.frame[column].dtype)]
        every = list(zip(self.files, kinds, strict=True))
        return [each for each in every if each[1] != pl.Null] or every

    def rows_of_kind(self, column: str, kind: pl.DataType | type[pl.DataType]) -> NDArray[np.bool_]:
        """Return which rows (R,) are of files in which a column has a type."""
        kinds = self.kinds.get(column)
        if kinds is None:
            return np.full(len(self.rows), self.frame[column].dtype == kind)
        alike = np.array([each == kind for each in kinds])
        return alike[np.searchsorted(self.ends, self.rows, side="right")]

    def first_missing(self, row: int, columns: Sequence[str]) -> str:
        """Return the first of some columns that has no value in a row, in which one has none."""
        return next(name for name in columns if self.frame[name].is_null()[row])

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
    """Read columns, each of which must be in each file, without blank lines.

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
    frames, blank = [], []
    left_out = LeftOut()
    for file in files:
        begin(f"reading {file.path.name}")
        frame, more, lines = _read(file, names)
        frames.append(frame)
        blank.append(lines)
        left_out += more
    ends = np.cumsum([frame.height for frame in frames]).tolist()
    if not ends[-1]:
        raise DataError(f"{describe(files)} has no rows: it is empty")
    kinds = {name: [frame[name].dtype for frame in frames] for name in names}
    frame = join(files, frames)
    table = Table(files, frame, np.arange(frame.height), ends, left_out, kinds)
    if left_out.blank:
        table.keep(~pl.concat(blank))
        if not table.frame.height:
            raise DataError(f"{describe(files)} has no rows: it is empty")
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


def _read(file: TableFile, names: list[str]) -> tuple[pl.DataFrame, LeftOut, pl.Series]:
    """Return columns of a file, what was left out, and which of the rows are blank lines."""
    try:
        if file.text is None:
            frame, left_out = scan_parquet(file.path).select(names).collect(), LeftOut()
            blank = pl.repeat(False, frame.height, eager=True, dtype=pl.Boolean)
        else:
            frame, left_out = file.text.read(names)
            blank = file.text.blank(frame)
            left_out += LeftOut(blank=int(blank.sum()))
    except FAILURES as error:
        raise DataError(f"{file.path.name} cannot be read: {first_line(error)}") from error
    return plain_values(frame), left_out, blank


def plain_values(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with text for what stands for it, and null for what is missing: "" and NaN."""
    frame = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    return frame.with_columns(
        pl.col(pl.String).replace("", None), pl.col(pl.Float32, pl.Float64).fill_nan(None)
    )


def with_missing(frame: pl.DataFrame, missing: Sequence[str], without: str = "") -> pl.DataFrame:
    """Return a frame with null for the texts that mean "missing", also for those in lists.

    Args:
        frame: the columns.
        missing: the texts.
        without: a column in which they mean themselves; "" = none.
    """
    if not missing:
        return frame
    texts = list(missing)
    made = []
    for name, kind in frame.schema.items():
        column = pl.col(name)
        if name == without:
            continue
        if kind == pl.String:
            made.append(column.replace(texts, None))
        elif isinstance(kind, (pl.List, pl.Array)) and kind.inner in (pl.String, pl.Categorical, pl.Enum):
            lists = column.cast(pl.List(pl.String))
            made.append(lists.list.eval(pl.element().replace(texts, None)))
    return frame.with_columns(made)

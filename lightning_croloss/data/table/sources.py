"""The files of a table: which they are, and which columns they have."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from lightning_croloss.data.table.finding import PARQUET, extension, find_paths, part_path
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.data.table.text import TextFile
from lightning_croloss.errors import DataError

#: What may go wrong when a Parquet file is read.
FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError)


@dataclass(frozen=True)
class TableFile:
    """One file of a table.

    Attributes:
        path: where it is.
        columns: its columns and their types: RecBole's in atomic files, polars' in Parquet, else "text".
        text: the opened file if it is a text file; None for Parquet.
        decimal: what stands before the decimals of its numbers, where they are text.
        declared: the types that the header of a text file gave columns, if they were written from one.
    """

    path: Path
    columns: Mapping[str, str]
    text: TextFile | None = None
    decimal: str = "."
    declared: Mapping[str, str] = field(default_factory=dict)

    def said_of(self, column: str) -> str:
        """Return the type that a header gives a column, "text" if it gives none; "" where there is none."""
        return self.columns[column] if self.is_text else self.declared.get(column, "")

    @property
    def is_text(self) -> bool:
        """Whether all columns are read as text."""
        return self.text is not None


def as_written(column: str) -> str:
    """Return what a Parquet file calls the texts that the numbers of a column were read from."""
    return f"{column} (as written)"


def texts_of(files: Sequence[TableFile], column: str) -> str:
    """Return the column that says how a column was written: itself, unless texts come beside its numbers."""
    beside = as_written(column)
    return beside if all(not file.is_text and beside in file.columns for file in files) else column


def event_files(spec: TableSpec) -> tuple[list[TableFile], list[int] | None]:
    """Return the files of the events and, if they are the parts of a predefined split, the part of each.

    Raises:
        DataError: if there are no such files.
    """
    paths, parts = event_paths(spec)
    return [open_file(path, spec.reading) for path in paths], parts


def event_paths(spec: TableSpec) -> tuple[list[Path], list[int] | None]:
    """Return where the files of the events are, and the part of each as :func:`event_files` does.

    Raises:
        DataError: if there are no such files.
    """
    if spec.split is None or spec.part_column is not None:
        return find_paths("interactions", spec.interactions, ".inter"), None
    paths: list[Path] = []
    parts: list[int] = []
    named: dict[str, str] = {}
    for part, name in spec.split.names.items():
        found = find_paths("interactions", part_path(_folder(spec), name), ".inter")
        for path in found:
            before = named.setdefault(os.path.realpath(path), name)
            if before != name:
                raise DataError(
                    f"split: {path.name} is in two parts, that of {before!r} and that of {name!r}: what "
                    "is held out would be trained on; name files that no other part has"
                )
        paths += found
        parts += [part] * len(found)
    return paths, parts


def feature_files(spec: TableSpec, table: str) -> list[TableFile]:
    """Return the files of the table "items" or "users", none if it is not given.

    Raises:
        DataError: if there are no such files.
    """
    return [open_file(path, spec.reading) for path in feature_paths(table, spec.files[table])]


def feature_paths(table: str, given: str | Sequence[str] | None) -> list[Path]:
    """Return where the files of the table "items" or "users" are, none if it is not given.

    Args:
        table: which one.
        given: what names it.

    Raises:
        DataError: if there are no such files.
    """
    return find_paths(table, given, f".{table.removesuffix('s')}") if given else []


def find_files(
    field: str, given: str | Sequence[str], atomic: str, options: ReadingOptions | None = None
) -> list[TableFile]:
    """Return the files that an argument names, and their columns.

    Args:
        field: name of the argument, for errors.
        given: a file, a folder (searched to its depths), a glob, or a list of these.
        atomic: the extension of RecBole's atomic file to take from a folder that holds several.
        options: how text files are read.

    Raises:
        DataError: nothing is there, or a file is not what its extension says.
    """
    return [open_file(path, options or ReadingOptions()) for path in find_paths(field, given, atomic)]


def open_file(path: Path, options: ReadingOptions) -> TableFile:
    """Return a file with its columns.

    Raises:
        DataError: the file is not what its extension says, or has no usable header.
    """
    if extension(path) not in PARQUET:
        text = TextFile(path, options)
        return TableFile(path, text.columns, text, options.decimal)
    with path.open("rb") as content:
        beginning = content.read(4)
    if not beginning:
        raise DataError(f"{path.name} is empty")
    if beginning != b"PAR1":
        raise DataError(f"{path.name} is not a Parquet file, whatever its extension says")
    try:
        schema = scan_parquet(path).collect_schema()
    except pl.exceptions.DuplicateError as error:
        raise DataError(
            f"{path.name} has two columns of one name, {first_line(error)}: rename one"
        ) from error
    except FAILURES as error:
        raise DataError(f"{path.name} is damaged or cut off: {first_line(error)}") from error
    return TableFile(path, {name: str(kind) for name, kind in schema.items()}, decimal=options.decimal)


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Return the columns of one file, whose path is no pattern and says nothing of its content."""
    return pl.scan_parquet(path, hive_partitioning=False, glob=False)


def _folder(spec: TableSpec) -> str:
    if not isinstance(spec.interactions, str):
        raise DataError(
            "interactions: the split takes its parts from files in a folder: name the folder, not a list, or "
            "give the split a column"
        )
    return spec.interactions


def first_line(error: BaseException) -> str:
    """Return the first line of a message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)

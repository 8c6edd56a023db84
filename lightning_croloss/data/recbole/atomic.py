"""RecBole's atomic files, read by the reader of all tables, not by RecBole's.

RecBole lets pandas guess: a tab at each line's end makes row names of the users, and ids such as ``NA`` and
``null`` are missing values to it.
"""

from __future__ import annotations

import codecs
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from lightning_croloss.data.table.reading import Table, read_table
from lightning_croloss.data.table.sources import TableFile, find_files
from lightning_croloss.errors import DataError

EXTENSIONS = ("inter", "user", "item")


@dataclass(frozen=True)
class AtomicFile:
    """One atomic file.

    Attributes:
        path: where it is.
        types: the type of each column by the header: ``token``, ``float``, ``token_seq`` or ``float_seq``.
        separator: what stands between the fields.
        encoding: its encoding.
    """

    path: Path
    types: Mapping[str, str]
    separator: str
    encoding: str

    @property
    def name(self) -> str:
        """Its name, for errors."""
        return self.path.name

    def read(self, columns: Iterable[str], needed: Iterable[str]) -> Table:
        """Read columns as text, None where there is no value; blank lines are left out.

        Args:
            columns: names of columns.
            needed: those of them that must have a value everywhere.

        Raises:
            DataError: the file cannot be read, or a value is missing; it names the file, line and column.
        """
        names = list(dict.fromkeys([*needed, *columns]))
        if len(names) == 1:  # one more tells a blank line from one that lacks its id
            names += [name for name in self.types if name not in names][:1]
        with _opened(self.path, self.separator, self.encoding) as file:
            table = read_table([file], dict(zip(names, names, strict=True)))
        table.keep(table.frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series())
        if not table.frame.height:
            raise DataError(f"{self.name} has no rows: it is empty")
        for name in needed:
            missing = table.frame[name].is_null()
            if missing.any():
                line = line_of(table, int(missing.arg_max() or 0))
                raise DataError(f"{self.name} has no {name} in {line}: fill it or remove the line")
        return table


def open_atomic(path: Path, settings: Mapping[str, Any]) -> AtomicFile:
    """Read the header of an atomic file.

    Args:
        path: the file.
        settings: RecBole settings; ``field_separator`` and ``encoding`` count.

    Raises:
        ValueError: a setting is unusable.
        DataError: the file cannot be read, or its header is malformed.
    """
    separator, encoding = settings.get("field_separator") or "\t", settings.get("encoding") or "utf-8"
    if not isinstance(separator, str) or len(separator.encode()) != 1:
        raise ValueError(f"field_separator={separator!r} must be one character")
    try:
        codecs.lookup(encoding)
    except (LookupError, TypeError):
        raise ValueError(f"encoding={encoding!r} is not known: write utf-8, latin-1 or utf-16") from None
    with _opened(path, separator, encoding) as file:
        return AtomicFile(path, file.columns, separator, encoding)


def line_of(table: Table, position: int) -> str:
    """Return "line 7" for what is now at ``position`` of a table of one file."""
    return table.location(position).rpartition(", ")[2]


@contextmanager
def _opened(path: Path, separator: str, encoding: str) -> Iterator[TableFile]:
    """Give the file to the reader, which reads UTF-8."""
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        yield find_files("dataset", str(path), path.suffix, separator)[0]
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            with (
                path.open(encoding=encoding, newline="") as source,
                copy.open("w", encoding="utf-8", newline="") as target,
            ):
                shutil.copyfileobj(source, target)
        except UnicodeError as error:
            raise DataError(f"{path.name} cannot be read with encoding={encoding!r}: {error}") from error
        yield find_files("dataset", str(copy), path.suffix, separator)[0]

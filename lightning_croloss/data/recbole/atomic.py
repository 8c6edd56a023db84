"""RecBole's atomic files, read by the reader of all tables, not by RecBole's.

RecBole lets pandas guess: a tab at each line's end makes row names of the users, and ids such as ``NA`` and
``null`` are missing values to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.data.table.reading import Table, describe_comments, read_table
from lightning_croloss.data.table.sources import TableFile, open_file
from lightning_croloss.errors import DataError

EXTENSIONS = ("inter", "user", "item")


@dataclass(frozen=True)
class AtomicFile:
    """One atomic file.

    Attributes:
        file: the file, opened by the tables' reader.
    """

    file: TableFile

    @property
    def name(self) -> str:
        """Its name, for errors."""
        return self.file.path.name

    @property
    def types(self) -> Mapping[str, str]:
        """The type of each column by the header: ``token``, ``float``, ``token_seq`` or ``float_seq``."""
        return self.file.columns

    def read(self, columns: Iterable[str], needed: Iterable[str]) -> Table:
        """Read columns as text, None where there is no value; blank lines are left out.

        Args:
            columns: names of columns.
            needed: those of them that must have a value everywhere.

        Raises:
            DataError: the file cannot be read, or a value is missing; it names the file, line and column.
        """
        names = list(dict.fromkeys([*needed, *columns]))
        table = read_table([self.file], dict(zip(names, names, strict=True)))
        if table.left_out.comments:
            rank_zero_warn(f"{self.name}: {describe_comments(table.left_out)}")
        if number := table.left_out.ragged:
            rank_zero_warn(
                f"{self.name}: {number} lines of another number of fields than the header are left out"
            )
        for name in needed:
            missing = table.frame[name].is_null()
            if missing.any():
                line = line_of(table, int(missing.arg_max() or 0))
                raise DataError(f"{self.name} has no {name} in {line}: fill it or remove the line")
        return table


def open_atomic(path: Path, settings: Mapping[str, Any], ragged: str = "error") -> AtomicFile:
    """Read the header of an atomic file.

    Args:
        path: the file.
        settings: RecBole settings; ``field_separator`` and ``encoding`` count.
        ragged: "drop" to leave out lines of another number of fields than the header, else "error".

    Raises:
        ValueError: a setting is unusable.
        DataError: the file cannot be read, or its header is malformed.
    """
    separator, encoding = settings.get("field_separator") or "\t", settings.get("encoding") or "utf-8"
    for name, value in (("field_separator", separator), ("encoding", encoding)):
        if not isinstance(value, str):
            raise ValueError(f"{name}={value!r} must be a text")
    try:
        options = ReadingOptions(separator=separator, encoding=encoding, ragged=ragged)
    except ValueError as error:
        raise ValueError(str(error).replace("separator=", "field_separator=", 1)) from None
    return AtomicFile(open_file(path, options))


def refuse_repeated(name: str, table: Table, column: str) -> None:
    """Refuse a table of users or items that holds an id twice.

    Args:
        name: the file.
        table: its columns.
        column: that of the ids.

    Raises:
        DataError: naming the id and the line.
    """
    ids = table.frame[column]
    repeated = ~ids.is_first_distinct()
    if repeated.any():
        row = int(repeated.arg_max() or 0)
        raise DataError(f"{name} holds {column} {ids[row]!r} again in {line_of(table, row)}: keep one")


def line_of(table: Table, position: int) -> str:
    """Return "line 7" for what is now at ``position`` of a table of one file."""
    return table.location(position).rpartition(", ")[2]

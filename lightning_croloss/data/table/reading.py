"""Files of a table: which they are, what they hold, and where a row stands in them."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.report import first_of
from lightning_croloss.errors import DataError, suggest

#: Endings of text files and their separators.
SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}
#: RecBole's atomic files, whose headers hold ``name:type``.
ATOMIC = (".inter", ".item", ".user")
PARQUET = (".parquet", ".pq")
READABLE = (*PARQUET, *SEPARATORS)
_COMPRESSED = (".gz", ".zst")
_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError)


@dataclass(frozen=True)
class TableFile:
    """One file of a table.

    Attributes:
        path: where it is.
        columns: its columns and their types: RecBole's in atomic files, polars' in Parquet, else "text".
        separator: what stands between the fields of a text file; None for Parquet.
    """

    path: Path
    columns: Mapping[str, str]
    separator: str | None

    @property
    def is_text(self) -> bool:
        """Whether all columns are read as text."""
        return self.separator is not None


@dataclass
class Table:
    """Some columns of one or several files, one below the other.

    Attributes:
        files: the files.
        frame: the columns; those of text files are all String.
        rows: (R,) number of each row, counted from 0 over all files.
        ends: for each file the number of rows up to its end.
    """

    files: Sequence[TableFile]
    frame: pl.DataFrame
    rows: NDArray[np.int64]
    ends: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The file, or the first one and how many more there are."""
        return describe(self.files)

    def place(self, position: int) -> str:
        """Return file and row of what is now at ``position``, for an error message."""
        row = int(self.rows[position])
        number = int(np.searchsorted(self.ends, row, side="right"))
        file = self.files[number]
        inside = row - ([0, *self.ends])[number]
        return f"{file.path.name}, " + (f"line {inside + 2}" if file.is_text else f"row {inside + 1}")

    def keep(self, mask: pl.Series) -> None:
        """Keep the rows that ``mask`` (R,) marks."""
        self.frame = self.frame.filter(mask)
        self.rows = self.rows[mask.to_numpy()]


def describe(files: Sequence[TableFile]) -> str:
    """Return the name of the file, or of the first one and how many more there are."""
    return first_of([file.path.name for file in files])


def find_files(field: str, given: str, atomic: str, separator: str | None = None) -> list[TableFile]:
    """Return the files that an argument names, and their columns.

    Args:
        field: name of the argument, for errors.
        given: a file, a folder (searched to its depths) or a glob.
        atomic: the ending of RecBole's atomic file to take from a folder that holds several.
        separator: what stands between the fields of text files; None goes by the ending.

    Raises:
        DataError: nothing is there, or a file is not what its ending says.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        found = [entry for entry in sorted(path.rglob("*")) if entry.is_file() and not _hidden(entry, path)]
        chosen = [entry for entry in found if _ending(entry) == atomic] or [
            entry for entry in found if _ending(entry) in READABLE and _ending(entry) not in ATOMIC
        ]
        if not chosen:
            raise DataError(f"{field}: the folder {given!r} has no file with an ending {_endings()}")
    elif path.is_file():
        chosen = [path]
    elif any(sign in given for sign in "*?["):
        chosen = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()]
        if not chosen:
            raise DataError(f"{field}: {given!r} matches no file")
    else:
        if not path.parent.is_dir():
            raise DataError(f"{field}: there is no file {given!r}, nor the folder {str(path.parent)!r}")
        present = [
            entry.name for entry in path.parent.iterdir() if entry.is_dir() or _ending(entry) in READABLE
        ]
        raise DataError(f"{field}: there is no file {given!r}{suggest(path.name, present)}")
    endings = sorted({_ending(entry) for entry in chosen})
    if unknown := [entry for entry in chosen if _ending(entry) not in READABLE]:
        raise DataError(f"{field}: {unknown[0].name} has no ending that can be read: {_endings()}")
    if len({ending in PARQUET for ending in endings}) > 1 or len({e in ATOMIC for e in endings}) > 1:
        raise DataError(f"{field}: {given!r} holds files of different kinds ({', '.join(endings)}): name one")
    return [_open(entry, separator) for entry in chosen]


def part_path(folder: str, name: str) -> str:
    """Return the path of one part of predefined data.

    Args:
        folder: the folder of the interactions.
        name: a file or folder in it, with or without its ending, or a glob.

    Raises:
        DataError: the folder is none, or has no such file, or several.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(
            f"interactions: {folder!r} is no folder, but the split takes its parts from files in one: name "
            "the folder, or give the split a column"
        )
    if (root / name).exists() or any(sign in name for sign in "*?["):
        return str(root / name)
    stems: dict[str, list[str]] = {}
    for entry in sorted(root.iterdir()):
        if entry.is_dir() or _ending(entry) in READABLE:
            stem = entry.with_suffix("") if entry.suffix in _COMPRESSED else entry
            stems.setdefault(entry.name if entry.is_dir() else stem.stem, []).append(entry.name)
    found = stems.get(name, [])
    if len(found) > 1:
        raise DataError(
            f"interactions: {folder!r} has several files {name!r}: write one of {', '.join(found)}"
        )
    if not found:
        raise DataError(f"interactions: {folder!r} has no file {name!r} for the split{suggest(name, stems)}")
    return str(root / found[0])


def read_table(
    files: Sequence[TableFile], columns: Mapping[str, str], begin: Callable[[str], None] = lambda what: None
) -> Table:
    """Read columns, of which each must be in each file.

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
                if file.is_text and len(file.columns) == 1:
                    hint = f"; the header has one column only: is the separator really {file.separator!r}?"
                raise DataError(
                    f"{argument} names {column!r}, which is no column of {file.path.name}"
                    f"{hint or suggest(column, file.columns)}"
                )
    names = list(dict.fromkeys(columns.values()))
    frames = []
    for file in files:
        begin(f"reading {file.path.name}")
        frames.append(_read(file, names))
    ends = np.cumsum([frame.height for frame in frames]).tolist()
    if not ends[-1]:
        raise DataError(f"{describe(files)} has no rows: it is empty")
    for name in names:
        _check_alike(name, files, [frame[name] for frame in frames])
    try:
        frame = pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the files of {describe(files)} do not fit together: {_first(error)}") from error
    return Table(files, frame, np.arange(frame.height), ends)


def _check_alike(name: str, files: Sequence[TableFile], columns: Sequence[pl.Series]) -> None:
    """Refuse columns that polars would bring together by changing their meaning."""
    typed = [(f, c) for f, c in zip(files, columns, strict=True) if c.dtype != pl.Null]
    for file, column in typed:
        first, family = _family(typed[0][1].dtype), _family(column.dtype)
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


def _family(kind: pl.DataType) -> str:
    if kind == pl.String:
        return "text"
    if kind.is_numeric():
        return "numbers"
    return "dates" if kind == pl.Date or isinstance(kind, pl.Datetime) else str(kind)


def _read(file: TableFile, names: list[str]) -> pl.DataFrame:
    try:
        if file.separator is None:
            frame = pl.scan_parquet(file.path, hive_partitioning=False).select(names).collect()
        else:
            frame = (
                pl.scan_csv(
                    file.path,
                    separator=file.separator,
                    has_header=False,
                    skip_rows=1,
                    schema=dict.fromkeys(file.columns, pl.String),
                    infer_schema=False,
                )
                .select(names)
                .collect()
            )
    except _FAILURES as error:
        raise DataError(f"{file.path.name} cannot be read: {_first(error)}") from error
    # what stands for text elsewhere; an empty text is a missing value
    frame = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    return frame.with_columns(
        pl.col(pl.String).replace("", None), pl.col(pl.Float32, pl.Float64).fill_nan(None)
    )


def _open(path: Path, separator: str | None) -> TableFile:
    """Return the file with its columns."""
    ending = _ending(path)
    with path.open("rb") as content:
        beginning = content.read(4096)
    if not beginning:
        raise DataError(f"{path.name} is empty")
    if ending in PARQUET:
        if beginning[:4] != b"PAR1":
            raise DataError(f"{path.name} is no Parquet file, whatever its ending says")
        try:
            schema = pl.scan_parquet(path, hive_partitioning=False).collect_schema()
        except _FAILURES as error:
            raise DataError(f"{path.name} is damaged or cut off: {_first(error)}") from error
        return TableFile(path, {name: str(kind) for name, kind in schema.items()}, None)
    if path.suffix not in _COMPRESSED and (beginning[:4] == b"PAR1" or b"\0" in beginning):
        raise DataError(f"{path.name} is no text file, whatever its ending says")
    separator = separator or SEPARATORS[ending]
    try:
        head = pl.read_csv(path, separator=separator, has_header=False, n_rows=1, infer_schema=False)
    except _FAILURES as error:
        raise DataError(f"{path.name} cannot be read: {_first(error)}") from error
    fields = [str(name or "") for name in head.row(0)]
    columns: dict[str, str] = {}
    for name in fields:
        kind = "text"
        if ending in ATOMIC:
            name, mark, kind = name.partition(":")
            if not mark:
                raise DataError(
                    f"the header of {path.name} has {name!r}: write name and type, such as user_id:token"
                )
        if name in columns:
            raise DataError(f"{path.name} has two columns {name!r} in its header: rename one")
        columns[name] = kind
    return TableFile(path, columns, separator)


def _ending(path: Path) -> str:
    return (path.with_suffix("") if path.suffix in _COMPRESSED else path).suffix.lower()


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _endings() -> str:
    return ", ".join(READABLE)


def _first(error: BaseException) -> str:
    lines: Iterable[str] = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)

"""The files of a table: which they are, and which columns they have."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.errors import DataError, suggest

#: Extensions of text files and their separators.
SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}
#: RecBole's atomic files, whose headers hold ``name:type``.
ATOMIC = (".inter", ".item", ".user")
PARQUET = (".parquet", ".pq")
READABLE = (*PARQUET, *SEPARATORS)
#: What may go wrong when a file is read.
FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeDecodeError)
_COMPRESSED = (".gz", ".zst")


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


def event_files(spec: TableSpec) -> tuple[list[TableFile], list[int] | None]:
    """Return the files of the events and, if they are the parts of a predefined split, the part of each.

    Raises:
        DataError: if there are no such files.
    """
    if spec.split is None or spec.part_column is not None:
        return find_files("interactions", spec.interactions, ".inter", spec.separator), None
    files: list[TableFile] = []
    parts: list[int] = []
    for part, name in spec.split.names.items():
        path = part_path(spec.interactions, name)
        found = find_files("interactions", path, ".inter", spec.separator)
        files += found
        parts += [part] * len(found)
    return files, parts


def feature_files(spec: TableSpec, table: str) -> list[TableFile]:
    """Return the files of the table "items" or "users", none if it is not given.

    Raises:
        DataError: if there are no such files.
    """
    given = spec.files[table]
    return find_files(table, given, f".{table.removesuffix('s')}", spec.separator) if given else []


def find_files(field: str, given: str, atomic: str, separator: str | None = None) -> list[TableFile]:
    """Return the files that an argument names, and their columns.

    Args:
        field: name of the argument, for errors.
        given: a file, a folder (searched to its depths) or a glob.
        atomic: the extension of RecBole's atomic file to take from a folder that holds several.
        separator: what stands between the fields of text files; None goes by the extension.

    Raises:
        DataError: nothing is there, or a file is not what its extension says.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        found = [entry for entry in sorted(path.rglob("*")) if entry.is_file() and not _hidden(entry, path)]
        chosen = [entry for entry in found if _extension(entry) == atomic] or [
            entry for entry in found if _extension(entry) in READABLE and _extension(entry) not in ATOMIC
        ]
        if not chosen:
            raise DataError(f"{field}: the folder {given!r} has no file with an extension {_extensions()}")
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
            entry.name for entry in path.parent.iterdir() if entry.is_dir() or _extension(entry) in READABLE
        ]
        raise DataError(f"{field}: there is no file {given!r}{suggest(path.name, present)}")
    extensions = sorted({_extension(entry) for entry in chosen})
    if unknown := [entry for entry in chosen if _extension(entry) not in READABLE]:
        raise DataError(f"{field}: {unknown[0].name} has no extension that can be read: {_extensions()}")
    if len({(extension in PARQUET, extension in ATOMIC) for extension in extensions}) > 1:
        different = ", ".join(extensions)
        raise DataError(f"{field}: {given!r} holds files of different kinds ({different}): name one")
    return [_open(entry, separator) for entry in chosen]


def part_path(folder: str, name: str) -> str:
    """Return the path of one part of predefined data.

    Args:
        folder: the folder of the interactions.
        name: a file or folder in it, with or without its extension, or a glob.

    Raises:
        DataError: there is no such folder, or it has no such file, or several.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(
            f"interactions: {folder!r} is not a folder, but the split takes its parts from files in one: "
            "name the folder, or give the split a column"
        )
    if (root / name).exists() or any(sign in name for sign in "*?["):
        return str(root / name)
    stems: dict[str, list[str]] = {}
    for entry in sorted(root.iterdir()):
        if entry.is_dir() or _extension(entry) in READABLE:
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


def _open(path: Path, separator: str | None) -> TableFile:
    """Return the file with its columns."""
    extension = _extension(path)
    with path.open("rb") as content:
        beginning = content.read(4096)
    if not beginning:
        raise DataError(f"{path.name} is empty")
    if extension in PARQUET:
        if beginning[:4] != b"PAR1":
            raise DataError(f"{path.name} is not a Parquet file, whatever its extension says")
        try:
            schema = pl.scan_parquet(path, hive_partitioning=False).collect_schema()
        except FAILURES as error:
            raise DataError(f"{path.name} is damaged or cut off: {first_line(error)}") from error
        return TableFile(path, {name: str(kind) for name, kind in schema.items()}, None)
    if path.suffix not in _COMPRESSED and (beginning[:4] == b"PAR1" or b"\0" in beginning):
        raise DataError(f"{path.name} is not a text file, whatever its extension says")
    separator = separator or SEPARATORS[extension]
    try:
        head = pl.read_csv(path, separator=separator, has_header=False, n_rows=1, infer_schema=False)
    except FAILURES as error:
        raise DataError(f"{path.name} cannot be read: {first_line(error)}") from error
    fields = [str(name or "") for name in head.row(0)]
    columns: dict[str, str] = {}
    for name in fields:
        kind = "text"
        if extension in ATOMIC:
            name, mark, kind = name.partition(":")
            if not mark:
                raise DataError(
                    f"the header of {path.name} has {name!r}: write name and type, such as user_id:token"
                )
        if name in columns:
            raise DataError(f"{path.name} has two columns {name!r} in its header: rename one")
        columns[name] = kind
    return TableFile(path, columns, separator)


def _extension(path: Path) -> str:
    return (path.with_suffix("") if path.suffix in _COMPRESSED else path).suffix.lower()


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)


def _extensions() -> str:
    return ", ".join(READABLE)


def first_line(error: BaseException) -> str:
    """Return the first line of a message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)

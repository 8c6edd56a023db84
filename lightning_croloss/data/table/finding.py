"""Which files an argument names: a file, a folder, a glob, or a list of these."""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from croloss_serving.common.folders import leads_nowhere, walk
from croloss_serving.common.home_folder import expanded
from lightning_croloss.errors import DataError, suggest

#: Extensions of text files and their separators.
SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t", ".user": "\t"}
#: RecBole's atomic files, whose headers hold ``name:type``.
ATOMIC = (".inter", ".item", ".user")
PARQUET = (".parquet", ".pq")
READABLE = (*PARQUET, *SEPARATORS)
COMPRESSED = (".gz", ".zst")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WRITES = {"pandas": "to_parquet", "polars": "write_parquet", "pyarrow": "pyarrow.parquet.write_table"}


def paths_of(argument: str, given: Any) -> tuple[str, ...]:
    """Return what an argument names as texts.

    Args:
        argument: its name.
        given: a text or path, or a list of them.

    Raises:
        TypeError: it is something else, a data frame for example.
    """
    if isinstance(given, (str, os.PathLike)):
        given = [given]
    elif not isinstance(given, (list, tuple)):
        raise _no_path(argument, given)
    elif not given:
        raise TypeError(f"{argument} is an empty list: name a file")
    for entry in given:
        if not isinstance(entry, (str, os.PathLike)):
            raise _no_path(argument, entry)
        if not os.fspath(entry):
            raise TypeError(f"{argument} names an empty text: name a file, or null if there is none")
    return tuple(map(os.fsdecode, given))


def _no_path(argument: str, given: Any) -> TypeError:
    package = type(given).__module__.partition(".")[0]
    advice = f": write it to a Parquet file ({_WRITES[package]}) and name that" if package in _WRITES else ""
    name = type(given).__name__
    shown = f"a {name}" if package == "builtins" else f"a {name} of {package}"
    if isinstance(given, (int, float, bytes)) or given is None:
        shown = repr(given)
    return TypeError(
        f"{argument} must name a file, a folder or a glob, or a list of them, got {shown}{advice}"
    )


def find_paths(field: str, given: str | Sequence[str], atomic: str) -> list[Path]:
    """Return the files that an argument names, each once, all of one kind.

    Args:
        field: name of the argument, for errors.
        given: a file, a folder (searched to its depths, through links too), a glob, or a list of these.
        atomic: the extension of RecBole's atomic file to take from a folder that holds several.

    Raises:
        DataError: nothing is there, a link leads nowhere, or the files are of different kinds.
    """
    named = (given,) if isinstance(given, str) else given
    if not all(named):
        raise DataError(f"{field} is an empty text: name a file")
    chosen: dict[str, Path] = {}
    for entry in named:
        found: dict[str, Path] = {}
        for path in _named_by(field, entry, atomic):
            found.setdefault(os.path.realpath(path), path)  # a file that several links lead to is one file
        if twice := [path for real, path in found.items() if real in chosen]:
            raise DataError(f"{field} names {twice[0].name} twice: name it once")
        chosen |= found
    paths = list(chosen.values())
    if unknown := [path for path in paths if extension(path) not in READABLE]:
        raise DataError(f"{field}: {unknown[0].name} has no extension that can be read: {_readable()}")
    extensions = sorted({extension(path) for path in paths})
    if len({(kind in PARQUET, kind in ATOMIC) for kind in extensions}) > 1:
        shown = repr(named[0]) if len(named) == 1 else repr(list(named))
        different = ", ".join(extensions)
        raise DataError(f"{field}: {shown} holds files of different kinds ({different}): name one")
    return paths


def part_path(folder: str, name: str) -> str:
    """Return the path of one part of predefined data.

    Args:
        folder: the folder of the interactions.
        name: a file or folder in it, with or without its extension, or a glob.

    Raises:
        DataError: there is no such folder, or it has no such file, or several.
    """
    root = expanded(folder)
    if not root.is_dir():
        raise DataError(
            f"interactions: {folder!r} is not a folder, but the split takes its parts from files in one: "
            "name the folder, or give the split a column"
        )
    if (root / name).exists() or any(sign in name for sign in "*?["):
        return str(root / name)
    stems: dict[str, list[str]] = {}
    for entry in sorted(root.iterdir()):
        if entry.is_dir() or extension(entry) in READABLE:
            stem = entry.name if entry.is_dir() else _without_compression(entry).stem
            stems.setdefault(stem, []).append(entry.name)
    found = stems.get(name, [])
    if len(found) > 1:
        raise DataError(
            f"interactions: {folder!r} has several files {name!r}: write one of {', '.join(found)}"
        )
    if not found:
        raise DataError(f"interactions: {folder!r} has no file {name!r} for the split{suggest(name, stems)}")
    return str(root / found[0])


def extension(path: Path) -> str:
    """Return the extension in small letters, that of a compressed file without the one of its compression."""
    return _without_compression(path).suffix.lower()


def is_compressed(path: Path) -> bool:
    """Tell whether a file is compressed, by its extension."""
    return path.suffix.lower() in COMPRESSED


def is_glob(given: str) -> bool:
    """Tell whether a text is a glob and not the path of something that exists."""
    return any(sign in given for sign in "*?[") and not expanded(given).exists()


def _named_by(field: str, given: str, atomic: str) -> list[Path]:
    if _ADDRESS.match(given):
        raise DataError(f"{field}: {given!r} is an address, not a file: download it, and name the file")
    path = expanded(given)
    if path.is_dir():
        return _in_folder(field, path, given, atomic)
    if path.is_file():
        return [path]
    if path.is_symlink():
        raise DataError(f"{field}: {given!r} is a link that leads nowhere, to {os.readlink(path)!r}")
    if is_glob(given):
        matches = [Path(name) for name in sorted(glob.glob(_pattern(path), recursive=True))]
        matches = [match for match in matches if not _goes_round(match)]
        for match in matches:
            _check_link(field, match)
        files = [match for match in matches if match.is_file()]
        if not files:
            files = [file for match in matches for file in _in_folder(field, match, str(match), atomic)]
        if not files:
            raise DataError(f"{field}: {given!r} matches no file")
        return files
    if path.exists():
        raise DataError(f"{field}: {given!r} is neither a file nor a folder: write its content to a file")
    if not path.parent.is_dir():
        raise DataError(f"{field}: there is no file {given!r}, nor the folder {str(path.parent)!r}")
    present = [
        entry.name for entry in path.parent.iterdir() if entry.is_dir() or extension(entry) in READABLE
    ]
    raise DataError(f"{field}: there is no file {given!r}{suggest(path.name, present)}")


def _in_folder(field: str, folder: Path, given: str, atomic: str) -> list[Path]:
    found = sorted(here / name for here, names in walk(folder) for name in names)
    for path in found:  # one that may be a folder of tables, too
        _check_link(field, path)
    chosen = [path for path in found if extension(path) == atomic] or [
        path for path in found if extension(path) in READABLE and extension(path) not in ATOMIC
    ]
    if not chosen:
        raise DataError(f"{field}: the folder {given!r} has no file with an extension {_readable()}")
    return [path for path in chosen if path.is_file()]


def _goes_round(path: Path) -> bool:
    """Tell whether so many links lead to a path that some lead in a circle."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _check_link(field: str, path: Path) -> None:
    if (nowhere := leads_nowhere(path)) is not None:
        raise DataError(f"{field}: {path.name} is a link that leads nowhere, to {nowhere!r}")


def _pattern(path: Path) -> str:
    """Return the pattern of a glob, in which what exists under its own name stands for itself."""
    literal = Path()
    for part in path.parts:
        if not (literal / part).exists():
            break
        literal /= part
    rest = path.relative_to(literal)
    return str(Path(glob.escape(str(literal))) / rest)


def _without_compression(path: Path) -> Path:
    return path.with_suffix("") if is_compressed(path) else path


def _readable() -> str:
    return ", ".join(READABLE)

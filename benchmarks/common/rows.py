"""Rows of a comparison: one JSON line a run, appended and never rewritten.

A row is ``{"settings": ..., **results}``; that of a run that failed is ``{"settings": ..., "error": ...,
"error_type": ...}``. Where a run has several rows, the newest counts.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO

if sys.platform != "win32":
    import fcntl

Settings = dict[str, Any]
Row = dict[str, Any]


def identity(settings: Settings) -> str:
    """Return the text that tells one run from another."""
    return json.dumps(settings, sort_keys=True)


def rows_of(path: Path) -> dict[str, Row]:
    """Read the rows of finished runs, by identity."""
    return {key: row for key, row in _newest(path).items() if "error" not in row}


def failures_of(path: Path) -> dict[str, Row]:
    """Read the rows of runs that failed and have not been made good since, by identity."""
    return {key: row for key, row in _newest(path).items() if "error" in row}


def failed_row(settings: Settings, error: BaseException) -> Row:
    """Return the row of a run that raised: its type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return {
        "settings": settings,
        "error": lines[0].strip() if lines else "it gave no message",
        "error_type": type(error).__name__,
    }


def append_row(path: Path, row: Row) -> None:
    """Append a row and wait until it is on the disk.

    What a process that was killed while writing left of a line is cut off first. Several processes may append
    to one file.
    """
    line = json.dumps(row).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        last = _unended(file)
        if _parsed(last) is not None:
            line = b"\n" + line  # only its end was missing
        elif last:
            file.truncate(file.tell() - len(last))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _unended(file: BinaryIO) -> bytes:
    """Return what follows the last end of a line, and leave the file at its end."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    if file.read() == b"\n":
        return b""
    file.seek(0)
    return file.read().rpartition(b"\n")[2]


def _newest(path: Path) -> dict[str, Row]:
    """Read the newest row of each run.

    Raises:
        ValueError: a line before the last is not a row.
    """
    rows: dict[str, Row] = {}
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines, start=1):
        row = _parsed(line)
        if row is not None:
            rows[identity(row["settings"])] = row
        elif line:
            if number < len(lines):
                raise ValueError(f"{path}, line {number} is not a row: mend it or delete it")
            warnings.warn(
                f"{path}, line {number} breaks off, as when a process is killed while it writes: left out, "
                "and cut off when the next row is appended",
                stacklevel=3,
            )
    return rows


def _parsed(line: bytes) -> Row | None:
    """Return the row of a whole line; a part of one is never a row."""
    try:
        row = json.loads(line)
    except ValueError:  # UnicodeDecodeError, too
        return None
    return row if isinstance(row, dict) and "settings" in row else None

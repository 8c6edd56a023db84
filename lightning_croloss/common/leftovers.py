"""What a killed process leaves beside the file or folder that it was writing."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lightning_croloss.common.locks import is_named, lock, unlock

_NUMBER = r"[0-9a-f]{16}"
#: What temporary checkpoints end in: nobody who looks for ``*.ckpt`` finds them.
TEMPORARY = ".tmp"
NEW, OLD = ".new", ".old"


def temporary_name(path: Path, extension: str | None = None) -> Path:
    """Return a new path beside ``path``, hidden, with the same extension or another one after the name."""
    stem, end = (path.stem, path.suffix) if extension is None else (path.name, extension)
    return path.with_name(f".{stem}.{secrets.token_hex(8)}{end}")


def remove_dead_files(path: Path, extension: str | None = None, name: str | None = None) -> None:
    """Remove the temporary files beside ``path`` whose process has ended.

    Args:
        path: what they were to become.
        extension: as of :func:`temporary_name`.
        name: a regular expression for other names than that of ``path``.
    """
    stem, end = (path.stem, path.suffix) if extension is None else (path.name, extension)
    for left in _beside(path, rf"\.{name or re.escape(stem)}\.{_NUMBER}{re.escape(end)}"):
        if left.is_symlink() or not left.is_file():
            continue
        try:
            descriptor = lock(left)
        except (BlockingIOError, FileNotFoundError, PermissionError):
            continue  # it is being written, was moved just now, or is not ours
        if descriptor is not None:
            if is_named(descriptor, left):
                left.unlink(missing_ok=True)
            unlock(descriptor)


def restore_folder(path: Path) -> None:
    """Bring back the folder at ``path`` if a process was killed between two renames, and remove the rest.

    Nobody else may be writing ``path``.
    """
    if not os.path.lexists(path):
        olds = sorted(_beside(path, rf"\.{re.escape(path.name)}\.{_NUMBER}\{OLD}"), key=_modified)
        if olds:
            os.replace(olds[-1], path)
    for left in _beside(path, rf"\.{re.escape(path.name)}\.{_NUMBER}\.(new|old)"):
        with suppress(OSError):  # another user's, for instance: it is in nobody's way
            discard(left)


def discard(folder: Path) -> None:
    """Remove a folder, or what else lies there; if that is interrupted, what is left is never restored."""
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
        return
    if folder.suffix == OLD:
        folder = folder.rename(folder.with_suffix(NEW))
    shutil.rmtree(folder)


def _beside(path: Path, pattern: str) -> Iterator[Path]:
    whole = re.compile(pattern)
    try:
        names = os.listdir(path.parent)
    except FileNotFoundError:
        return
    yield from (path.with_name(name) for name in names if whole.fullmatch(name))


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns

"""Writing files so that none is ever half-written."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and move it there when the block succeeds.

    If the block fails the temporary file is removed and whatever was at ``path`` stays as it was. A new file
    gets the permissions of the umask, a replaced one keeps its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    # not tempfile, whose files only their owner may read; a private file's content stays private meanwhile
    temporary.touch(mode=0o600 if path.exists() else 0o666, exist_ok=False)
    try:
        yield temporary
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, or leave ``path`` as it was."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` to fill, and move it there when the block succeeds.

    So the folder is whole or absent. If the block fails, what was at ``path`` stays as it was.

    Raises:
        FileExistsError: there is something at ``path`` and ``overwrite`` is false.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists: choose another folder, or overwrite it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{secrets.token_hex(8)}.{end}") for end in ("new", "old"))
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    finally:
        for left in (temporary, old):
            if left.exists():
                shutil.rmtree(left) if left.is_dir() else left.unlink()

"""Opening files of a folder that a stranger may have made."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

#: What Hugging Face's cache lays beside the folder of its snapshots: the files that these link to.
_SNAPSHOTS, _BLOBS = "snapshots", "blobs"


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe or a device, on which reading may never end, is refused.

    Raises:
        ValueError: it is no regular file.
        OSError: it cannot be opened.
    """
    # without waiting for somebody to write to a pipe
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        most_bytes: how large it may be.

    Raises:
        ValueError: it is no regular file, or larger.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise ValueError(f"it has {size:,} bytes, more than the {most_bytes:,} that such a file may have")
        return file.read(most_bytes)


def lies_in(folder: Path, name: str) -> bool:
    """Tell whether a file of a folder lies there, and is no link to elsewhere.

    The cache of the Hugging Face Hub lays a model's files as links into its own folder ``blobs``, which
    stands beside the folder ``snapshots``: those count as lying there.

    Args:
        folder: the folder.
        name: name of the file, not a path.
    """
    target = (folder / name).resolve()
    real = folder.resolve()
    if target.is_relative_to(real):
        return True
    stores = (parent.parent / _BLOBS for parent in real.parents if parent.name == _SNAPSHOTS)
    return any(target.is_relative_to(store) for store in stores)

"""Space on a disk, told before it is missing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_croloss.common.system_errors import FULL
from lightning_croloss.errors import NotEnoughSpaceError

#: How libraries that are not written in Python say that a disk is full, and that a file may not grow.
_SAID_FULL = ("No space left on device", "os error 28", "code: 28", "Disk quota exceeded")
_SAID_LARGE = ("File too large", "os error 27", "code: 27")


def free_bytes(path: Path) -> int:
    """Return what is free on the file system of ``path``, which need not exist yet."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_space(path: Path, needed: int, what: str) -> None:
    """Refuse to begin what cannot be written.

    Args:
        path: where it is to be written.
        needed: the bytes that it certainly takes.
        what: what it is, as the error calls it.

    Raises:
        NotEnoughSpaceError: fewer bytes are free.
    """
    free = free_bytes(path)
    if free < needed:
        raise NotEnoughSpaceError(
            f"{what} takes {size(needed)}, but the file system of {path} has {size(free)} free: make room, "
            "or choose another folder"
        )


@contextmanager
def telling_if_full(path: Path) -> Iterator[None]:
    """Turn an error of the block that says, in whatever words, that the disk is full into one sentence.

    Likewise one that says that a file may not grow so large.

    Args:
        path: what the block writes.

    Raises:
        NotEnoughSpaceError: the disk is full.
        OSError: a file may not grow so large.
    """
    try:
        yield
    except NotEnoughSpaceError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        kept = f"{path} could not be written and stays as it was"
        if number in FULL or any(words in str(error) for words in _SAID_FULL):
            raise NotEnoughSpaceError(
                f"No space left on device: {kept}; free some space on its file system, or choose another "
                "folder"
            ) from None
        if number == errno.EFBIG or any(words in str(error) for words in _SAID_LARGE):
            large = OSError(
                f"File too large: {kept}; raise the limit on the size of files (ulimit -f), or choose "
                "another file system"
            )
            large.errno = errno.EFBIG
            raise large from None
        raise


def size(number: int) -> str:
    """Return a number of bytes as text."""
    for unit, bytes_of_it in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= bytes_of_it:
            return f"{number / bytes_of_it:,.1f} {unit}"
    return f"{number:,} byte" + "s" * (number != 1)

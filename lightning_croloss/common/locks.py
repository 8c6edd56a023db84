"""Locks of files that the system frees when their process ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_croloss.common.uninterrupted import uninterrupted

if sys.platform != "win32":
    import fcntl

#: The descriptors of the locks that this process holds.
_OPEN: set[int] = set()
#: The outputs that this process has claimed, and the thread that did.
_CLAIMED: dict[Path, int] = {}
#: What the system answers where no file can be.
_NO_PLACE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
)


def lock(path: Path, make: bool = False) -> int | None:
    """Lock a file for this process, or return None where the file system or the system has no locks.

    Args:
        path: the file.
        make: whether to make it if it is absent.

    Returns:
        What :func:`unlock` takes.

    Raises:
        BlockingIOError: it is locked already, by another process or by another part of this one.
        FileNotFoundError: there is no such file.
    """
    if sys.platform == "win32":
        return None
    # for reading and writing: NFS locks nothing else exclusively
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if make else 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    _OPEN.add(descriptor)
    return descriptor


def unlock(descriptor: int | None) -> None:
    """Free a lock."""
    if descriptor in _OPEN and sys.platform != "win32":  # else this is a child of the process that has it
        _OPEN.discard(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def is_named(descriptor: int, path: Path) -> bool:
    """Tell whether a locked file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep an output for this job alone while the block runs.

    A file ``.<name>.lock`` beside it is locked meanwhile. What a killed job leaves of it stops nobody. Where
    the file system has no locks, the block runs without. A block inside the block may claim the same again.

    Raises:
        FileExistsError: another job is writing it.
        PermissionError: its folder cannot be made or written to.
    """
    target = path.parent.resolve() / path.name
    if _CLAIMED.get(target) == threading.get_ident():
        yield
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_lie_there(path, error) from error
    mark = target.with_name(f".{target.name}.lock")
    held: list[int | None] = []

    def free() -> None:
        if not held:
            return
        _CLAIMED.pop(target, None)
        if (descriptor := held.pop()) in _OPEN:
            # first the name, then the lock: whoever waits with the file open finds that it has no name
            mark.unlink(missing_ok=True)
            unlock(descriptor)

    try:
        try:
            with uninterrupted():  # else a signal may come when the file is there, and nobody knows of it yet
                held.append(_lock_mark(mark, path))
                _CLAIMED[target] = threading.get_ident()
            yield
        finally:
            with uninterrupted():
                free()
    finally:
        free()  # if a signal came before it had to wait


def _lock_mark(mark: Path, path: Path) -> int | None:
    while True:
        try:
            descriptor = lock(mark, make=True)
        except PermissionError:
            if not os.path.lexists(mark):
                raise PermissionError(
                    f"{path} cannot be written: you may not write to its folder, {mark.parent}; choose "
                    "another output"
                ) from None
            raise FileExistsError(
                f"{path} is being written by a job of another user, or was when that ended: wait, choose "
                f"another output, or remove {mark}"
            ) from None
        except BlockingIOError:
            raise FileExistsError(
                f"{path} is being written by another job: wait until it ends, or choose another output"
            ) from None
        except OSError as error:
            if error.errno != errno.EROFS:
                raise _cannot_lie_there(path, error) from error
            raise PermissionError(
                f"{path} cannot be written: its folder, {mark.parent}, is on a file system that can only be "
                "read; choose another output"
            ) from None
        if descriptor is None:
            mark.unlink(missing_ok=True)
            return None
        if is_named(descriptor, mark):
            return descriptor
        unlock(descriptor)  # the job before has just removed it


def _cannot_lie_there(path: Path, error: OSError) -> OSError:
    """Return what to say of a path at which no file can be, or the error if it says something else."""
    if error.errno not in _NO_PLACE:
        return error
    return PermissionError(f"{path} cannot be written there ({error.strerror}): choose another output")


def _forget() -> None:
    """Let a forked process, a loader's worker for instance, keep no lock after its parent ended."""
    for descriptor in _OPEN:
        os.close(descriptor)
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

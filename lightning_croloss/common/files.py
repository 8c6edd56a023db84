"""Writing files and folders so that none is ever half-written, and none is lost."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning_croloss.common.exchange import exchanged
from lightning_croloss.common.leftovers import (
    NEW,
    OLD,
    TEMPORARY,
    discard,
    remove_dead_files,
    restore_folder,
    temporary_name,
)
from lightning_croloss.common.locks import claimed, lock, unlock
from lightning_croloss.common.replaceable import check_path, refuse_existing
from lightning_croloss.common.space import telling_if_full
from lightning_croloss.common.uninterrupted import uninterrupted

#: What a file system that knows no second names of a file answers.
_NO_LINKS = (
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EINVAL,
)
#: … and one that knows no permissions.
_NO_PERMISSIONS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
#: … and one that cannot write the names in a folder to the disk on request.
_NO_FOLDER_SYNC = (
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
)


@contextmanager
def replacing(
    path: Path, *, extension: str | None = None, durable: bool = True, new: bool = False
) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and move it there when the block succeeds.

    If the block fails the temporary file is removed and whatever was at ``path`` stays as it was; the next
    who writes ``path`` removes what a killed process has left. A new file gets the permissions of the umask,
    a replaced one keeps its own.

    Args:
        path: the file.
        extension: what the temporary path ends in, after the whole name; None is the extension of ``path``,
            by which some writers choose the format.
        durable: whether the file is on the disk before it replaces the old one, so that not even a power cut
            leaves half of it.
        new: whether a file that somebody else has made meanwhile is left alone.

    Raises:
        FileExistsError: there is one, and ``new`` is true, or it is a device or a pipe.
        NotEnoughSpaceError: the disk is full.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileExistsError(f"{path} is not a plain file, and would be one: choose another one")
    with temporary_file(path, extension, private=path.exists()) as temporary:
        yield temporary
        if path.is_file():  # not those of a folder that a link leads to
            _copy_permissions(path, temporary)
        if durable:
            synchronize(temporary)
        if new:
            move_to_free(temporary, path)
        else:
            os.replace(temporary, path)
        if durable:
            synchronize(path.parent)


@contextmanager
def temporary_file(path: Path, extension: str | None = None, private: bool = False) -> Iterator[Path]:
    """Give a temporary file beside ``path``, which is gone after the block unless it was moved.

    Args:
        path: what it is to become.
        extension: see :func:`replacing`.
        private: whether only its owner may read it meanwhile; else whom the umask lets.

    Raises:
        NotEnoughSpaceError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_dead_files(path, extension)
    temporary = temporary_name(path, extension)
    held = None
    try:
        with telling_if_full(path):
            # not tempfile, whose files only their owner may ever read
            temporary.touch(mode=0o600 if private else 0o666, exist_ok=False)
            held = lock(temporary)
            yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        unlock(held)


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Write ``content`` to ``path``, or leave ``path`` as it was."""
    with replacing(path, extension=TEMPORARY, durable=durable) as temporary:
        temporary.write_bytes(content)


@contextmanager
def output_file(path: Path, overwrite: bool, option: str = "") -> Iterator[None]:
    """Keep a file that the user named for this job alone, from before the work until it is written.

    Args:
        path: the file; :func:`replacing` writes it inside the block.
        overwrite: whether it may exist.
        option: the option that names it, for errors.

    Raises:
        FileExistsError: it exists, is not a plain file, or another job is writing it.
    """
    check_path(path, option, folder=False)
    refuse_existing(path, overwrite, option, folder=False)
    with claimed(path):
        refuse_existing(path, overwrite, option, folder=False)  # a job may have ended just now
        yield


@contextmanager
def replacing_folder(path: Path, overwrite: bool = False, link: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` to fill, and move it there when the block succeeds.

    So the folder is whole or absent. If the block fails, what was at ``path`` stays as it was. Where the
    system can, an old folder and the new one are swapped in one step; elsewhere a process that is killed
    between two renames leaves the old folder beside ``path``, and the next call brings it back.

    Args:
        path: the folder.
        overwrite: whether there may be something, which is deleted.
        link: whether that may be a symbolic link; what it leads to stays.

    Raises:
        FileExistsError: there is something at ``path`` and ``overwrite`` is false, ``path`` is a symbolic
            link or a folder that must stay, or another job is writing it.
        NotEnoughSpaceError: the disk is full.
    """
    if not (link and path.is_symlink()):
        check_path(path)
    refuse_existing(path, overwrite)
    with claimed(path):
        with uninterrupted():
            restore_folder(path)
        refuse_existing(path, overwrite)
        new, old = (temporary_name(path, end) for end in (NEW, OLD))
        try:
            with telling_if_full(path):
                new.mkdir()
                yield new
                for file in new.rglob("*"):
                    synchronize(file)
                synchronize(new)
                with uninterrupted():
                    _swap(new, path, old)
        finally:
            with uninterrupted():
                _discard(new)


def _swap(new: Path, path: Path, old: Path) -> None:
    """Put ``new`` to ``path``; whatever goes wrong, the old folder is there afterwards."""
    if path.is_dir() and not path.is_symlink():  # not those of a file, which could not be entered
        _copy_permissions(path, new)
    if not os.path.lexists(path):
        os.replace(new, path)
    elif not exchanged(new, path):
        try:
            os.replace(path, old)
            os.replace(new, path)
        except BaseException:
            if os.path.lexists(old) and not os.path.lexists(path):
                os.rename(old, path)
            raise
        _discard(old)
    synchronize(path.parent)


def _discard(folder: Path) -> None:
    """Remove a folder as far as that can be done; the next writer tries again."""
    with suppress(OSError):  # NFS keeps what somebody still reads; and the work is done, or failed before
        if os.path.lexists(folder):
            discard(folder)


def _copy_permissions(path: Path, new: Path) -> None:
    try:
        shutil.copymode(path, new)
    except OSError as error:
        if error.errno not in _NO_PERMISSIONS:
            raise


def move_to_free(temporary: Path, path: Path) -> None:
    """Move a file to a path, whole at once, unless there is something.

    Raises:
        FileExistsError: there is.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(f"{path} was made by somebody else meanwhile, and stays as it is") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        path.touch(exist_ok=False)  # the name is taken first; between the two steps the file is empty
        os.replace(temporary, path)
        return
    temporary.unlink()


def synchronize(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    folder = path.is_dir()
    if folder and sys.platform == "win32":
        return
    try:
        # Windows flushes only what is open for writing
        descriptor = os.open(path, os.O_RDONLY if sys.platform != "win32" else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not folder or error.errno not in _NO_FOLDER_SYNC:
            raise

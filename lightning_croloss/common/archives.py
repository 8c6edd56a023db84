"""Whether a file that ``torch.save`` wrote is as it was written: its reader does not check the checksums."""

from __future__ import annotations

import struct
import zipfile
import zlib
from functools import lru_cache
from os import SEEK_END, PathLike, stat
from typing import IO

_START = b"PK"
#: What reading a damaged archive fails with, whichever part of it is damaged.
_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


def is_stored(source: str | PathLike[str] | IO[bytes]) -> bool:
    """Tell whether the records of an archive take as much of the file as they say, from its directory alone.

    ``torch.save`` compresses nothing. A compressed record may be of any size, and torch makes room for it
    before anything can be checked. Whatever is not an archive counts as stored.

    Args:
        source: a file of this machine, or an open one, which stays where it is.
    """
    if isinstance(source, (str, PathLike)):
        with open(source, "rb") as file:
            return _is_stored(file)
    position = source.tell()
    try:
        source.seek(0)
        return _is_stored(source)
    finally:
        source.seek(position)


def _is_stored(file: IO[bytes]) -> bool:
    if file.read(len(_START)) != _START:
        return True
    size = file.seek(0, SEEK_END)
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
    except _DAMAGE:
        return False
    return _are_stored(records, size)


def _are_stored(records: list[zipfile.ZipInfo], size: int) -> bool:
    """Tell whether records take as much as they say, and no more than a file of so many bytes holds."""
    return (
        all(record.compress_type == zipfile.ZIP_STORED for record in records)
        and all(record.compress_size == record.file_size for record in records)
        and sum(record.file_size for record in records) <= size
    )


def is_intact(source: str | PathLike[str] | IO[bytes]) -> bool:
    """Tell whether every record of an archive has its checksum, in one pass over the file.

    Whatever is not an archive counts as intact, since nothing in it can be checked; so does one that was
    written without checksums (``torch.serialization.set_crc32_options(False)``). Compressed records, which
    ``torch.save`` never writes, are damage: they may be of any size.

    Args:
        source: a file of this machine, or an open one, which stays where it is.
    """
    if isinstance(source, (str, PathLike)):
        state = stat(source)
        return _is_intact(str(source), state.st_ino, state.st_size, state.st_mtime_ns)
    position = source.tell()
    try:
        return _check(source)
    finally:
        source.seek(position)


@lru_cache(maxsize=16)
def _is_intact(path: str, *_signature: int) -> bool:
    with open(path, "rb") as file:
        return _check(file)


def _check(file: IO[bytes]) -> bool:
    if file.read(len(_START)) != _START:
        return True
    size = file.seek(0, SEEK_END)
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if not _are_stored(records, size):
                return False
            return not any(record.CRC for record in records) or archive.testzip() is None
    except _DAMAGE:
        return False

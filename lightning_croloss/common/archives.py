"""Whether a file that ``torch.save`` wrote is as it was written: its reader does not check the checksums."""

from __future__ import annotations

import struct
import zipfile
import zlib
from functools import lru_cache
from os import PathLike, stat
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
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                return False
            return not any(record.CRC for record in records) or archive.testzip() is None
    except _DAMAGE:
        return False

"""The content of a text file as UTF-8, whatever its compression and encoding."""

from __future__ import annotations

import codecs
import gzip
import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from lightning_croloss.data.table.finding import is_compressed
from lightning_croloss.errors import DataError

Content = bytes | mmap.mmap
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class NotUTF8Error(DataError):
    """A file without a given encoding is not UTF-8."""


def read_content(path: Path, encoding: str | None) -> Content:
    """Return the content of a text file in UTF-8, without a byte-order mark, its lines ended by newlines.

    A plain file is mapped into memory, not read. That it is UTF-8 is checked where it is decoded.

    Args:
        path: the file, compressed if its extension says so.
        encoding: its encoding; None is UTF-8.

    Raises:
        DataError: the file is empty, damaged, not text, or in another encoding.
    """
    content = _raw(path)
    if not len(content):
        raise DataError(f"{path.name} is empty")
    beginning = bytes(content[:4096])
    if beginning.startswith(codecs.BOM_UTF8):
        content = bytes(content)[len(codecs.BOM_UTF8) :]
    elif encoding is not None and codecs.lookup(encoding).name not in ("utf-8", "ascii", "utf-8-sig"):
        content = _decoded(path, bytes(content), encoding).encode()
    else:
        _check_text(path, beginning)
    if content.find(b"\n") < 0 and content.find(b"\r") >= 0:  # of an old Mac
        content = bytes(content).replace(b"\r", b"\n")
    return content


def not_utf8(
    path: Path, content: bytes, first_line: int, separator: str, columns: Sequence[str]
) -> NotUTF8Error | None:
    """Return what to say of a part of a file that is not UTF-8, None if it is.

    Args:
        path: the file.
        content: the part.
        first_line: the number of its first line.
        separator: what stands between the fields.
        columns: the names of the columns.
    """
    try:
        content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        fields = before[before.rfind(b"\n") + 1 :].split(separator.encode())
        column = columns[min(len(fields), len(columns)) - 1]
        line = first_line + before.count(b"\n")
        return NotUTF8Error(
            f"{path.name} cannot be read: line {line}, column {column!r} is not UTF-8 text: set encoding, "
            "for example to latin-1 or cp1252"
        )
    return None


def _raw(path: Path) -> Content:
    try:
        if not is_compressed(path):
            with path.open("rb") as file:
                size = file.seek(0, 2)
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        if path.suffix.lower() == ".gz":
            return gzip.decompress(path.read_bytes())
        with pa.input_stream(path, compression="zstd") as stream:
            return bytes(stream.read())
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowException) as error:
        raise DataError(f"{path.name} is damaged or cut off: {error}") from error
    except OSError as error:
        if error.errno is None:  # of a decompressor, not of the file system
            raise DataError(f"{path.name} is damaged or cut off: {error}") from error
        raise


def _check_text(path: Path, beginning: bytes) -> None:
    """Refuse what is no text in UTF-8, as far as its beginning tells."""
    for mark, name in _MARKS.items():
        if beginning.startswith(mark):
            raise NotUTF8Error(f"{path.name} is not UTF-8 text but {name.upper()}: set encoding to {name}")
    if beginning.startswith(b"PAR1"):
        raise DataError(f"{path.name} is not a text file, whatever its extension says")
    if b"\0" in beginning:
        odd, even = beginning[1::2].count(0), beginning[::2].count(0)
        if max(odd, even) > len(beginning) // 4:  # mostly Latin letters, two bytes each
            name = "utf-16-le" if odd > even else "utf-16-be"
            raise NotUTF8Error(
                f"{path.name} is not UTF-8 text, but looks like UTF-16: set encoding to {name}"
            )
        raise DataError(f"{path.name} is not a text file, whatever its extension says")


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "ignore")
        raise DataError(
            f"{path.name}, line {before.count(chr(10)) + 1} is not {encoding}: set another encoding"
        ) from error
    except UnicodeError as error:  # a mark that is missing, say
        raise DataError(f"{path.name} is not {encoding} ({error}): set another encoding") from error
    return text.removeprefix("\ufeff")

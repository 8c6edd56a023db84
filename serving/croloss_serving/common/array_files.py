"""Arrays in numpy's files, allocated only where the file holds what its header declares."""

from __future__ import annotations

import io
import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_array(
    file: BinaryIO, size: int, kind: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Read an ``.npy`` file.

    Args:
        file: the file, open at its beginning.
        size: its size in bytes.
        kind: the type that the numbers must have.
        shape: the shape that the array must have; None where any size will do.

    Raises:
        ValueError: it is another array, or holds less or more than its header declares.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"it is in the version {version} of numpy's format, which is not read")
    try:
        declared, in_columns, dtype = _HEADERS[version](file)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:  # what an odd header is parsed to
        raise ValueError(f"its header cannot be read: {error}") from None
    if dtype != np.dtype(kind) or in_columns:
        raise ValueError(f"it holds {dtype}{' by columns' * in_columns} instead of {np.dtype(kind)}")
    if len(declared) != len(shape) or any(
        want is not None and got != want for got, want in zip(declared, shape, strict=True)
    ):
        wanted = ", ".join("any" if want is None else f"{want}" for want in shape)
        raise ValueError(f"it has the shape {declared} instead of ({wanted})")
    count = 1
    for length in declared:
        count *= length
    if min(declared, default=0) < 0 or count * dtype.itemsize != size - file.tell():
        raise ValueError(f"its header declares the shape {declared}, which its {size:,} bytes do not hold")
    found = np.empty(declared, dtype=dtype)
    if count and file.readinto(found.reshape(-1).view(np.uint8)) != found.nbytes:  # type: ignore[attr-defined]
        raise ValueError("it was cut off while it was read")
    return found


def check_finite(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array, unless a number in it is infinite or none at all.

    Raises:
        ValueError: there is such a number.
    """
    if not np.isfinite(array).all():
        raise ValueError("it holds numbers that are not finite")
    return array


def read_archive(content: bytes) -> dict[str, bytes]:
    """Return the members of an ``.npz`` file as :func:`numpy.savez` writes it, uncompressed.

    Raises:
        ValueError: it is no such file, or declares more than it holds.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            stored = all(
                member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
                for member in members
            )
            if not stored or sum(member.file_size for member in members) > len(content):
                raise ValueError("it declares more than it holds")
            if len({member.filename for member in members}) < len(members):
                raise ValueError("it holds a member twice")
            return {member.filename.removesuffix(".npy"): archive.read(member) for member in members}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OverflowError, OSError) as error:
        raise ValueError(f"it is not an archive: {error}") from None


def array_of(content: bytes, kind: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return the array that the bytes of an ``.npy`` file hold; see :func:`read_array`."""
    return read_array(io.BytesIO(content), len(content), kind, shape)

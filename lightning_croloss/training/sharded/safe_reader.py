"""Reading of what ``torch.distributed.checkpoint`` wrote, which may be a stranger's: it runs no code."""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import torch
from torch.distributed.checkpoint import metadata as dcp
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo

from lightning_croloss.common.archives import is_intact
from lightning_croloss.errors import PretrainedError

#: Name of the file that says what is where.
METADATA = ".metadata"
#: Names of the files with the values.
_VALUES = re.compile(r"__[0-9]{1,9}_[0-9]{1,9}\.distcp", re.ASCII)
#: Bytes of the metadata at most: it grows with tensors and processes, not with rows.
_MOST_BYTES = 2**28


def _strided(*_: Any) -> torch.layout:
    return torch.strided


#: Types that rows may be of.
TYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.bool,
)
#: All that the metadata may name: types that hold values, and do nothing.
_NAMED: dict[tuple[str, str], Any] = {
    **{
        (dcp.__name__, kind.__name__): kind
        for kind in (
            dcp.Metadata,
            dcp.TensorStorageMetadata,
            dcp.ChunkStorageMetadata,
            dcp.TensorProperties,
            dcp.MetadataIndex,
            dcp.StorageMeta,
            dcp._MEM_FORMAT_ENCODING,
        )
    },
    (_StorageInfo.__module__, "_StorageInfo"): _StorageInfo,
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): _strided,
    ("pathlib", "PosixPath"): PurePosixPath,
    ("pathlib", "WindowsPath"): PurePosixPath,
    ("pathlib._local", "PosixPath"): PurePosixPath,
    ("pathlib._local", "WindowsPath"): PurePosixPath,
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in TYPES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of such a file")
        return _NAMED[module, name]


class _Part(io.RawIOBase):
    """A part of a file as a file, which that of torch (2.13) is not: it cannot be read from its end."""

    def __init__(self, file: IO[bytes], begin: int, length: int) -> None:
        self._file, self._begin, self._length, self._at = file, begin, length, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if start + offset < 0:
            raise OSError("a place before its beginning")
        self._at = start + offset
        return self._at

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._length - self._at)
        self._file.seek(self._begin + self._at)
        found = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(found)
        return found


class SafeReader(FileSystemReader):
    """Reads a folder of ``torch.distributed.checkpoint`` of which every value is checked.

    Args:
        path: the folder.
        expected: shape and type of each tensor that it must hold.

    Raises:
        PretrainedError: it is damaged, or holds something else.
    """

    def __init__(self, path: Path, expected: Mapping[str, tuple[Sequence[int], torch.dtype]]) -> None:
        super().__init__(path)
        self._folder, self._checked = path, read_metadata(path)
        for name, (shape, dtype) in expected.items():
            _check_tensor(self._checked, path, name, tuple(shape), dtype)

    def read_metadata(self, *args: Any, **kwargs: Any) -> dcp.Metadata:
        """Return the metadata, which was read and checked before."""
        return self._checked

    def _slice_file(self, file: Any, sinfo: _StorageInfo) -> IO[bytes]:
        part = cast("IO[bytes]", _Part(file, sinfo.offset, sinfo.length))
        if not is_intact(part):
            raise _damaged(self._folder, f"the content of {sinfo.relative_path} does not match its checksums")
        return super()._slice_file(file, sinfo)  # which begins to read at its beginning


def read_metadata(folder: Path) -> dcp.Metadata:
    """Return the metadata of a folder; only types that hold values come out of it.

    Raises:
        PretrainedError: it is not there, or is damaged.
    """
    path = folder / METADATA
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise pickle.UnpicklingError("it is too large")
        with path.open("rb") as file:
            found = _Unpickler(file).load()
    except OSError as error:
        raise _damaged(folder, f"{METADATA} cannot be read ({error.strerror})") from None
    except Exception as error:  # whatever a damaged pickle makes of types that hold values
        raise _damaged(folder, f"{METADATA} is not what was written there ({error})") from None
    if not isinstance(found, dcp.Metadata) or not all(
        isinstance(part, dict) for part in (found.state_dict_metadata, found.storage_data)
    ):
        raise _damaged(folder, f"{METADATA} does not say what is where")
    if not isinstance(found.storage_meta, dcp.StorageMeta):
        found.storage_meta = dcp.StorageMeta()
    return found


def _check_tensor(
    metadata: dcp.Metadata, folder: Path, name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Refuse a tensor that is not whole, or whose parts lie elsewhere than in files of the folder."""
    found = metadata.state_dict_metadata.get(name)
    if not isinstance(found, dcp.TensorStorageMetadata):
        raise _damaged(folder, f"it does not hold {name!r}")
    if tuple(found.size) != shape or found.properties.dtype != dtype:
        raise _damaged(folder, f"{name!r} has the shape {tuple(found.size)} instead of {shape}")
    row = 0
    try:
        for chunk in sorted(found.chunks, key=lambda each: tuple(each.offsets)):
            offsets, sizes = tuple(chunk.offsets), tuple(chunk.sizes)
            if sizes[0] == 0:
                continue
            if offsets != (row, *[0] * (len(shape) - 1)) or sizes[1:] != shape[1:] or sizes[0] < 0:
                raise _damaged(folder, f"the parts of {name!r} do not make a whole")
            row += sizes[0]
            place = metadata.storage_data.get(dcp.MetadataIndex(name, chunk.offsets))
            _check_place(place, folder, name, math.prod(sizes) * dtype.itemsize)
    except (AttributeError, TypeError, LookupError):
        raise _damaged(folder, f"the parts of {name!r} are not described") from None
    if row != shape[0]:
        raise _damaged(folder, f"of {shape[0]:,} rows of {name!r} it holds {row:,}")


def _check_place(place: Any, folder: Path, name: str, held: int) -> None:
    """Refuse a part that does not lie in a file of the folder with as many bytes as its values take."""
    if not isinstance(place, _StorageInfo) or getattr(place, "transform_descriptors", None):
        raise _damaged(folder, f"it does not say where a part of {name!r} is")
    if not isinstance(place.relative_path, str) or not _VALUES.fullmatch(place.relative_path):
        raise _damaged(folder, f"a part of {name!r} lies in {place.relative_path!r:.60}, not in a file of it")
    path = folder / place.relative_path
    if path.is_symlink() or not path.is_file():
        raise _damaged(folder, f"{place.relative_path} is missing")
    begin, length = place.offset, place.length
    if not (type(begin) is type(length) is int and 0 <= begin < begin + length <= path.stat().st_size):
        raise _damaged(folder, f"the end of {place.relative_path} is missing")
    if length < held:  # a few bytes declare as many values as they like
        raise _damaged(folder, f"{place.relative_path} holds fewer values of {name!r} than it says")


def _damaged(folder: Path, why: str) -> PretrainedError:
    return PretrainedError(f"{str(folder.parent)!r} is a checkpoint in shards that is damaged: {why}")

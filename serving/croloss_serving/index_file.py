"""What a faiss index says of itself, read before faiss trusts it.

faiss allocates what a file declares, and follows the links of a graph wherever they lead. So the file of an
index is gone through first: it must be one of the three kinds that an export has, of as many vectors as
there are items, and hold exactly what it declares.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from croloss_serving.errors import PretrainedError

_INNER_PRODUCT = 0
_HEADER = "<iqqq?i"  # size of a vector, number of vectors, two spare ones, whether trained, kind of product
_IN_NO_MAP = 0


def check_index(path: Path, count: int, dim: int, opened: BinaryIO | None = None) -> None:
    """Refuse a file that is not an index of so many vectors.

    Args:
        path: the file.
        count: number of vectors.
        dim: their size.
        opened: the file itself, open; None opens it.

    Raises:
        PretrainedError: it is another file, or declares what it does not hold.
    """
    try:
        content = memoryview(np.memmap(opened or path, dtype=np.uint8, mode="r").data)
        file = _IndexFile(content, count, dim)
        kind = file.take("4s")
        if kind == b"IxFI":
            file.flat(count)
        elif kind == b"IwFl":
            file.clusters()
        elif kind == b"IHNf":
            file.graph()
        else:
            raise ValueError(f"it is of the unknown kind {kind!r}")
        if file.position != len(content):
            raise ValueError("it holds more than it declares")
    except (ValueError, struct.error) as error:
        raise PretrainedError(f"{path} is not a faiss index of {count:,} items: {error}") from None


class _IndexFile:
    """The content of an index, read from front to back."""

    def __init__(self, content: memoryview, count: int, dim: int) -> None:
        self._content = content
        self._count = count
        self._dim = dim
        self.position = 0

    def take(self, layout: str) -> Any:
        """Return the next value, or values if there are several."""
        found = struct.unpack_from(layout, self._content, self.position)
        self.position += struct.calcsize(layout)
        return found[0] if len(found) == 1 else found

    def array(self, dtype: str, length: int | None = None) -> NDArray[Any]:
        """Return an array, which stands after its length, or has the given one."""
        number: int = self.take("<Q") if length is None else length
        size = number * np.dtype(dtype).itemsize
        if size > len(self._content) - self.position:
            raise ValueError("it declares more than it holds")
        found = np.frombuffer(self._content, dtype, number, self.position)
        self.position += size
        return found

    def header(self, count: int) -> None:
        """Read what every kind begins with."""
        dim, number, _, _, _, product = self.take(_HEADER)
        if (dim, number, product) != (self._dim, count, _INNER_PRODUCT):
            raise ValueError(
                f"it declares {number:,} vectors of size {dim} instead of {count:,} of {self._dim}"
            )

    def flat(self, count: int) -> None:
        """Read vectors one after the other, after the four letters of their kind."""
        self.header(count)
        if len(self.array("<f4")) != count * self._dim:
            raise ValueError("it declares other vectors than it holds")

    def clusters(self) -> None:
        """Read an inverted file."""
        self.header(self._count)
        number, _ = self.take("<QQ")
        if not 1 <= number <= max(1, self._count) or self.take("4s") != b"IxFI":
            raise ValueError("it has no usable clusters")
        self.flat(number)
        if self.take("<b") != _IN_NO_MAP or len(self.array("<i8")):
            raise ValueError("it has a map of its own")
        kind, lists, size, layout = self.take("<4sQQ4s")
        sizes = self.array("<u8")
        if (
            layout == b"sprs" and len(sizes) % 2 == 0
        ):  # of few lists that are not empty: number and size of each
            sizes = sizes[1::2]
        elif layout != b"full" or len(sizes) != lists:
            raise ValueError("its lists cannot be read")
        if (kind, lists, size) != (b"ilar", number, 4 * self._dim) or len(sizes) > lists:
            raise ValueError("its lists cannot be read")
        total = 0
        for length in sizes.tolist():
            self.array("<f4", length * self._dim)
            self._check_range(self.array("<i8", length), 0)
            total += length
        if total != self._count:
            raise ValueError("its lists hold other vectors than it declares")

    def graph(self) -> None:
        """Read a graph of neighbours, every link of which must lead to a vector that has that level."""
        self.header(self._count)
        self.array("<f8")
        ends, levels = self.array("<i4").astype(np.int64), self.array("<i4").astype(np.int64)
        offsets, links = self.array("<u8").astype(np.int64), self.array("<i4")
        entry, highest, _, _, _ = self.take("<5i")
        if self.take("4s") != b"IxFI":
            raise ValueError("it does not hold its vectors")
        self.flat(self._count)
        whole = len(levels) == self._count > 0 and len(offsets) == self._count + 1 and len(ends) > 1
        if not whole or ends[0] != 0 or (np.diff(ends) < 0).any() or ends[-1] > 2**20:
            raise ValueError("its graph cannot be read")
        if levels.min() < 1 or levels.max() >= len(ends):
            raise ValueError("its graph has levels that it does not declare")
        if offsets[0] != 0 or (np.diff(offsets) != ends[levels]).any() or offsets[-1] != len(links):
            raise ValueError("its graph declares other links than it holds")
        self._check_range(links, -1)
        if not 0 <= entry < self._count or highest != levels.max() - 1 or levels[entry] <= highest:
            raise ValueError("its graph has no usable entry")
        for level in range(1, highest + 1):
            begin = offsets[:-1][levels > level] + ends[level]
            found = links[begin[:, None] + np.arange(ends[level + 1] - ends[level])]
            if (levels[found[found >= 0]] <= level).any():
                raise ValueError("its graph has links to levels that are not there")

    def _check_range(self, numbers: NDArray[Any], least: int) -> None:
        if len(numbers) and not least <= numbers.min() <= numbers.max() < self._count:
            raise ValueError("it has links to vectors that are not there")

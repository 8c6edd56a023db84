"""OrderStatistics: numbers in their order, more of them than memory holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.data.interactions import Interactions

_SIGN = np.int64(-(2**63))


class OrderStatistics:
    """Numbers, all int64 or all float64, in sorted parts on the disk, where that at a place is looked for.

    Args:
        folder: where the parts lie.
        name: what their names begin with.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._parts: list[NDArray[np.int64]] = []
        self.are_floats = False

    def add(self, numbers: NDArray[Any]) -> None:
        """Take more numbers (n,)."""
        if not len(numbers):
            return
        self.are_floats = numbers.dtype.kind == "f"
        path = self._folder / f"{self._name}-{len(self._parts):06}.npy"
        np.save(path, np.sort(_keys(numbers)))
        self._parts.append(np.load(path, mmap_mode="r"))

    def __len__(self) -> int:
        """Return the count of the numbers."""
        return sum(map(len, self._parts))

    def at(self, place: int) -> int | float:
        """Return the number at a place of their order, from 0."""
        low, high = (int(pick(part[end] for part in self._parts)) for pick, end in ((min, 0), (max, -1)))
        while low < high:
            middle = (low + high) // 2
            if self._count(middle, "right") > place:
                high = middle
            else:
                low = middle + 1
        return self._number(low)

    def before(self, number: int | float) -> int:
        """Return how many are below a number."""
        if self.are_floats:
            return self._count(int(_keys(np.array([number], dtype=np.float64))[0]), "left")
        key = math.ceil(number)  # whole numbers are below a broken one if they are below the next whole one
        return len(self) if key >= 2**63 else self._count(max(key, -(2**63)), "left")

    def median(self) -> float:
        """Return the median, as numpy has it."""
        upper = len(self) // 2
        if len(self) % 2:
            return float(self.at(upper))
        return float(np.mean(np.array([self.at(upper - 1), self.at(upper)], dtype=np.float64)))

    def _count(self, key: int, side: Literal["left", "right"]) -> int:
        return sum(int(np.searchsorted(part, np.int64(key), side)) for part in self._parts)

    def _number(self, key: int) -> int | float:
        if not self.are_floats:
            return key
        bits = np.array([key], dtype=np.int64)
        return float(np.where(bits < 0, ~bits ^ _SIGN, bits).view(np.float64)[0])


class TimesOnDisk(OrderStatistics):
    """The times of all events, as a split asks for them.

    Args:
        folder: where they lie.
        has_dates: whether they are dates, as nanoseconds since 1970.
    """

    def __init__(self, folder: Path, has_dates: bool) -> None:
        super().__init__(folder, "times")
        self.has_dates = has_dates

    def readable(self, time: int | float) -> int | float | str:
        """Return a time as a user would write it."""
        return Interactions.written_time(time, self.has_dates)


def _keys(numbers: NDArray[Any]) -> NDArray[np.int64]:
    """Return integers in the order of the numbers (n,): the bits of floats, those of negative ones turned."""
    if numbers.dtype.kind != "f":
        return numbers.astype(np.int64)
    bits = (numbers.astype(np.float64) + 0.0).view(np.int64)  # of -0.0 the bits of 0.0
    return np.where(bits < 0, ~bits ^ _SIGN, bits)

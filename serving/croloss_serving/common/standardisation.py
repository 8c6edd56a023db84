"""Standardisation of numbers that a few absurd ones among them cannot spoil."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A number is absurd if it is so many times farther from the median than any number nearer to it.
GAP = 10.0
#: The largest standardised number. None that was learned from comes near, being below the square root of
#: their count; a number of a new user may be anything, and its vector must be finite.
LARGEST = 2.0**20


@dataclass(frozen=True)
class Standardisation:
    """How numbers are standardised: clipped to the range of the sensible ones, moved and scaled.

    Absurd are numbers such as -999 for an unknown age, or the lowest double: beyond a gap in which there is
    nothing. The tail of a skewed distribution has no such gap, however long it is, and stays as it is.

    Attributes:
        low: numbers below count as this one.
        high: numbers above count as this one.
        center: what is subtracted.
        scale: what the rest is divided by.
        num_absurd: how many numbers were absurd.
    """

    low: float
    high: float
    center: float
    scale: float
    num_absurd: int

    @classmethod
    def of(cls, numbers: NDArray[np.float64]) -> Standardisation:
        """Learn from numbers (n,), NaN = missing, of which two or more differ."""
        present = numbers[~np.isnan(numbers)]
        sensible = present[_sensible(present)]
        num_absurd = len(present) - len(sensible)
        low, high = (float(sensible.min()), float(sensible.max())) if num_absurd else (-math.inf, math.inf)
        unit = float(np.abs(sensible).max())
        if 1e-150 < unit < 1e150:  # else squares would leave the range of floats
            unit = 1.0
        center, scale = float((sensible / unit).mean()) * unit, float((sensible / unit).std()) * unit
        return cls(low, high, center, scale, num_absurd)

    def apply(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return numbers (n,), NaN = missing, standardised."""
        within = np.clip(numbers, self.low, self.high)
        # in quarters, since the difference of two numbers may be larger than any number
        with np.errstate(over="ignore"):
            found = (within / 4 - self.center / 4) / (self.scale / 4)
        return np.clip(found, -LARGEST, LARGEST).astype(np.float32)


def _sensible(present: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of the numbers (n,) are not absurd: at least half of them, and two different ones."""
    quarters = present / 4  # the difference of two numbers may be larger than any number
    distance = np.abs(quarters - np.median(quarters))
    ordered = np.sort(distance)
    nearer, farther = ordered[:-1], ordered[1:]
    beyond = (nearer > 0) & (farther / GAP > nearer)
    beyond[: (len(ordered) - 1) // 2] = False
    if not beyond.any():
        return np.ones(len(present), dtype=np.bool_)
    kept: NDArray[np.bool_] = distance <= nearer[np.argmax(beyond)]
    return kept

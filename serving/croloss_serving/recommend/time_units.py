"""The unit that times of events are in, as far as their size tells it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: What times since 1970 are at least, from 1973 to 2286, in each unit.
_SMALLEST = {"seconds": 1e8, "milliseconds": 1e11, "microseconds": 1e14, "nanoseconds": 1e17}
#: They are below this many times as much.
_WITHIN = 100.0
#: Times of one unit and of unknown origin are not expected to differ by as much.
_RATIO = 30.0


def typical_time(times: NDArray[np.int64]) -> float | None:
    """Return the size that half of the whole times (S,) are below; None if there are none."""
    return float(np.median(np.abs(times.astype(np.float64)))) if len(times) else None


def unit_of(size: float | None) -> str | None:
    """Return the unit of times of a size, if they count from 1970; None if it does not tell."""
    if size is None:
        return None
    return next((unit for unit, least in _SMALLEST.items() if least <= size < _WITHIN * least), None)


def in_unit(size: float | None) -> str:
    """Return how a sentence calls times of a size."""
    if size is None:
        return "of unknown size"
    unit = unit_of(size)
    return f"in {unit}" if unit is not None else f"of about {size:,.0f}"


def other_unit(before: float | None, now: float | None) -> bool:
    """Tell whether the units of times of two sizes are both known, and differ."""
    units = unit_of(before), unit_of(now)
    return None not in units and units[0] != units[1]


def other_size(before: float | None, now: float | None) -> bool:
    """Tell whether times of two sizes are hardly in one unit, as far as it is known."""
    if before is None or now is None or unit_of(before) == unit_of(now) is not None:
        return False
    return not 1 / _RATIO < max(before, 1.0) / max(now, 1.0) < _RATIO


def first_in_other_unit(times: NDArray[np.int64], lengths: Sequence[int], size: float | None) -> int | None:
    """Return where the first event stands of a history whose times are all in another unit than training's.

    Args:
        times: (S,) whole times of the events of some histories, one history after the other.
        lengths: number of events of each history.
        size: size of the times of training, see :func:`typical_time`.

    Returns:
        A position in ``times``; None if there is no such history, or the unit of training is not known.
    """
    unit = unit_of(size)
    if unit is None:
        return None
    sizes = np.abs(times.astype(np.float64))
    own = (_SMALLEST[unit] <= sizes) & (sizes < _WITHIN * _SMALLEST[unit])
    known = np.zeros(len(times), dtype=np.bool_)
    for least in _SMALLEST.values():
        known |= (least <= sizes) & (sizes < _WITHIN * least)
    history = np.repeat(np.arange(len(lengths)), lengths)
    fine = np.bincount(history[own | ~known], minlength=len(lengths)) > 0
    other = ~fine[history]
    return int(other.argmax()) if other.any() else None

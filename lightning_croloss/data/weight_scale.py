"""The power of two by which all weights of events are multiplied, where training could not hold them."""

from __future__ import annotations

import math

#: Exponents between which the largest weight stays as it is: with room for sums in float32, and for smaller
#: ones in float16.
_WHOLE, _HALF = (-64, 64), (-8, 15)


def weight_scale(largest: float, half: bool) -> float:
    """Return what weights are multiplied by, 1 unless the largest of the data is huge or tiny.

    It is one for all batches and processes: losses of some are compared with those of others, and a power of
    two: it changes no ratio of weights.

    Args:
        largest: the largest weight of the events of training, in all processes.
        half: whether batches are converted to float16 before they are used.
    """
    low, high = _HALF if half else _WHOLE
    exponent = math.frexp(largest)[1]  # the largest is below 2 to its power
    if largest == 0.0 or low < exponent <= high:
        return 1.0
    # beside a huge weight there may be usual ones, of which as much as possible is to be left
    return 2.0 ** min((high if exponent > high else 0) - exponent, 126)

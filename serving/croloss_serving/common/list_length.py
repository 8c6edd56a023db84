"""How many items are to be returned."""

from __future__ import annotations

from numbers import Integral


def check_n(n: int, largest: int, what: str = "items") -> None:
    """Refuse a number of items to return that is none, or more than there are.

    Args:
        n: the number.
        largest: the number of ``what``.
        what: what is returned, as errors call it.

    Raises:
        ValueError: it is outside 1 … ``largest``.
        TypeError: it is not an integer.
    """
    if isinstance(n, bool) or not isinstance(n, Integral):
        raise TypeError(f"n must be an integer, got {n!r}: choose how many to return")
    if not 1 <= n <= largest:
        raise ValueError(
            f"n must be in 1 … {largest}, the number of {what}, got {n}: choose how many to return"
        )

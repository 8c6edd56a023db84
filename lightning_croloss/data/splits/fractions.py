"""Checks and roundings of the fractions that splits take."""

from __future__ import annotations

from torch import Tensor


def check_fractions(**fractions: float) -> None:
    """Raise ValueError if a fraction is not between 0 and 1, both excluded."""
    for name, value in fractions.items():
        if not 0 < value < 1:
            raise ValueError(f"{name}={value} must be a fraction between 0 and 1, both excluded")


def check_whole(train: float, valid: float, test: float) -> None:
    """Raise ValueError if the three are not fractions that sum to 1."""
    check_fractions(train=train, valid=valid, test=test)
    if abs(train + valid + test - 1) > 1e-6:
        raise ValueError(f"train={train}, valid={valid} and test={test} must sum to 1")


def share(count: Tensor, fraction: float) -> Tensor:
    """Return the fraction of each count (n,), rounded down."""
    # the small number undoes roundings such as 0.29 * 100 = 28.999…
    return (count.double() * fraction + 1e-9).floor().long()

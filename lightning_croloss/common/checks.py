"""Checks of arguments that several classes take."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real

from croloss_serving.common.terminal import shortened
from lightning_croloss.errors import suggest

#: What file systems take as the name of a file, with an extension.
LONGEST_NAME = 240


def check_probability(**probabilities: float) -> None:
    """Raise ``ValueError`` if a probability of dropping something is not in [0, 1)."""
    for name, value in probabilities.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value}")


def check_share(**shares: float) -> None:
    """Raise ``ValueError`` if a share of something is not in [0, 1]."""
    for name, value in shares.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be at least 0 and at most 1, got {value}")


def check_widths(**widths: Sequence[int]) -> None:
    """Raise ``ValueError`` if a width of a dense layer is below 1."""
    for name, values in widths.items():
        if min(values, default=1) < 1:
            raise ValueError(f"{name} must be at least 1 each, got {list(values)}")


def check_counts(**counts: int) -> None:
    """Raise ``ValueError`` if a number of things is below 1, or not whole."""
    for name, value in counts.items():
        _check_whole(name, value)
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_rounds(most: int, **counts: int) -> None:
    """Raise ``ValueError`` if a number of rounds of a computation is below 1, not whole, or endless."""
    check_counts(**counts)
    for name, value in counts.items():
        if value > most:
            raise ValueError(f"{name} must be at most {most:,}, got {value:,}")


def check_not_negative(**counts: int) -> None:
    """Raise ``ValueError`` if a number of things is below 0, or not whole."""
    for name, value in counts.items():
        _check_whole(name, value)
        if value < 0:
            raise ValueError(f"{name} must be at least 0, got {value}")


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {value!r}")


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raise ``ValueError`` if the argument ``name`` is not one of the known values."""
    if value not in known:
        raise ValueError(f"unknown {name} {value!r}{suggest(str(value), known)}")


def check_lists(**lists: object) -> None:
    """Raise ``ValueError`` if an argument that must be a list is a string, which would be read by letters."""
    for name, value in lists.items():
        if isinstance(value, str):
            raise ValueError(f"{name}={value!r} must be a list: write [{value!r}]")


def check_plain_name(name: str, value: object) -> None:
    """Raise ``ValueError`` if an argument that becomes part of a path is not one plain name.

    What the argument ``name`` says would lead out of the folder otherwise.
    """
    if (
        not isinstance(value, str)
        or value in ("", ".", "..")
        or any(sign in value for sign in "/\\\0")
        or len(value) > LONGEST_NAME
    ):
        shown = shortened(value if isinstance(value, str) else repr(value))
        raise ValueError(f"{name} must be one name, without folders, got {shown!r}")


def check_moments(**moments: object) -> None:
    """Raise ``TypeError`` if a moment is neither a number nor text, as the dates are that YAML makes."""
    for name, value in moments.items():
        if value is not None and not isinstance(value, (str, Real)):
            raise TypeError(f"{name} must be a number, or a date as text, got {value}: put it in quotes")

"""The errors that a user of this library can meet, besides plain ``ValueError`` and ``TypeError``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DataError(ValueError):
    """The data cannot be used: the message names the file, the column and the first offending row."""


class PretrainedError(ValueError):
    """A pretrained model cannot be found, trusted or read: the message names it and says what to do."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed: the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra [{extra}]: pip install 'lightning-croloss[{extra}]'")


class NonFiniteLossError(RuntimeError):
    """The training loss became NaN or infinite: the message holds the step and the state of the loss."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the known name nearest to ``name``, or all known names."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""

"""What goes wrong with files, data and packages, besides plain ``ValueError`` and ``TypeError``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from croloss_serving.common.terminal import printable, shortened

#: Characters of a message, which quotes what a file holds.
LONGEST_MESSAGE = 4000


class _ShownError(ValueError):
    """Names what a file holds, which must not command the terminal that shows a traceback."""

    def __str__(self) -> str:
        """Return the message, not too long, with every character that a terminal could obey written out."""
        return printable(shortened(super().__str__(), LONGEST_MESSAGE), kept="\n\t")


class DataError(_ShownError):
    """The data cannot be used: the message names the file, the column and the first offending row."""


class PretrainedError(_ShownError):
    """A pretrained model or an export cannot be found, trusted or read: the message says what to do."""


#: The distribution that this package comes in: its extras bring no torch.
SERVING = "lightning-croloss-serving"


class NeededBy(NamedTuple):
    """What needs an optional dependency, and what brings it.

    Attributes:
        what: what needs it, as an error says it.
        extra: the extra that brings it.
        distribution: whose extra that is.
    """

    what: str
    extra: str
    distribution: str = "lightning-croloss"


class MissingExtraError(ImportError):
    """An optional dependency is not installed: the message names the extra that brings it.

    Args:
        what: what needs it.
        extra: the extra.
        distribution: whose extra that is.
    """

    def __init__(self, what: str, extra: str, distribution: str = "lightning-croloss") -> None:
        super().__init__(f"{what} needs the extra [{extra}]: pip install '{distribution}[{extra}]'")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` with the known name nearest to ``name``, or all known names."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""

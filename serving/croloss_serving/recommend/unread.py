"""What a user gives of events or users though the model does not read it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

from croloss_serving.errors import suggest

#: So many are named.
_NAMED = 3


def unread_sentence(who: str, names: Sequence[Any], whose: str, known: Collection[str]) -> str:
    """Return the sentence that says what is left out.

    Args:
        who: the model.
        names: what it does not read, at least one.
        whose: "events" or "users".
        known: what it reads.
    """
    named = ", ".join(repr(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    are = "they are" if len(names) > 1 else "it is"
    return f"{who} does not read {named}{more} of {whose}: {are} left out{suggest(str(names[0]), known)}"


def warn_of_unread(who: str, names: Sequence[Any], whose: str, known: Collection[str]) -> None:
    """Warn of what is left out, if there is anything; see :func:`unread_sentence`."""
    if names:
        warnings.warn(unread_sentence(who, names, whose, known), stacklevel=4)

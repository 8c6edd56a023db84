"""Fields that mean one thing by a whole number and another by a share: ``1`` batch, and ``1.0`` of all.

The parser tries the types of a hint in their order, and takes 1 for 1.0 where float comes first. That order
is none of the author's: Python has one object for ``int | float`` and ``float | int`` wherever one of them
stands in another hint, which is in the order of whoever came first in the program.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Any, Union, get_args, get_origin

from jsonargparse import ArgumentParser

_HOLDERS = (list, tuple, dict, set, frozenset, Sequence, Iterable)


def whole_numbers_first(parser: ArgumentParser) -> None:
    """Let every argument of a parser that takes both try whole numbers before shares."""
    action: Any
    for action in parser._actions:
        if (hint := getattr(action, "_typehint", None)) is not None:
            action._typehint = integers_before_floats(hint)


def integers_before_floats(hint: Any) -> Any:
    """Return a type hint in which no union has float before int; the very hint if none had."""
    origin, members = get_origin(hint), get_args(hint)
    if origin not in (Union, types.UnionType, *_HOLDERS):
        return hint
    found = [integers_before_floats(member) for member in members]
    if origin in _HOLDERS:
        same = all(new is old for new, old in zip(found, members, strict=True))
        return hint if same else origin[tuple(found)]
    if int in found and float in found and found.index(float) < found.index(int):
        at, other = found.index(float), found.index(int)
        found[at], found[other] = int, float
    same = all(new is old for new, old in zip(found, members, strict=True))
    return hint if same else Union[tuple(found)]  # noqa: UP007  (in this very order)

"""Reads what is given now and called later: an optimizer or a scheduler, with its settings.

It can come as a class, as ``functools.partial`` of one, or as a config file gives it: jsonargparse binds the
class to a function of its own, ``partial(instantiate, …, AdamW, lr=0.1)``, so that the class is among the
arguments.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN = (bool, int, float, str, tuple)  # types whose == gives one bool, unlike a tensor's


@dataclass(frozen=True)
class CalledLater:
    """A class, or a function that nothing is known about, with the arguments already given to it.

    Attributes:
        target: what is called in the end.
        keywords: the arguments given by name.
        positional: the arguments given by position.
    """

    target: Callable[..., Any]
    keywords: Mapping[str, Any]
    positional: tuple[Any, ...]

    @property
    def cls(self) -> type | None:
        """The class that is built; None if the target is a function, which may build anything."""
        return self.target if isinstance(self.target, type) else None

    def __str__(self) -> str:
        """Return the call as Python, without settings that are defaults: a config file gives them all."""
        parameters = _parameters(self.target)
        given = [repr(value) for value in self.positional]
        for name, value in self.keywords.items():
            default = parameters[name].default if name in parameters else inspect.Parameter.empty
            if not (value is default or (isinstance(value, _PLAIN) and value == default)):
                given.append(f"{name}={value!r}")
        return f"{getattr(self.target, '__name__', self.target)}({', '.join(given)})"


def read_called_later(value: object) -> CalledLater | None:
    """Return the class and the arguments that ``value`` stands for; None if it cannot be called.

    Args:
        value: a class, a ``functools.partial`` of one, at any depth, what jsonargparse makes of a config, or
            any function.
    """
    keywords: dict[str, Any] = {}
    positional: tuple[Any, ...] = ()
    while isinstance(value, functools.partial):
        keywords = {**value.keywords, **keywords}
        positional = (*value.args, *positional)
        value = value.func
    if not callable(value):
        return None
    if not isinstance(value, type) and _of_jsonargparse(value):
        for index, entry in enumerate(positional):
            if isinstance(entry, type):
                return CalledLater(entry, keywords, positional[index + 1 :])
    return CalledLater(value, keywords, positional)


def _of_jsonargparse(function: object) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] == "jsonargparse"


def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # some builtins have none
        return {}

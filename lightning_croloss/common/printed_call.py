"""PrintedCall: objects that print as the call that builds them again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np


class PrintedCall:
    """Mixin of ``Configurable`` classes: ``repr`` is the constructor's call, in one line, to be pasted.

    It shows the arguments that must be given, those of :attr:`always_printed`, and those that differ from
    their defaults. What a schedule has set since is not an argument.
    """

    #: Arguments that are shown even where they are the defaults.
    always_printed: ClassVar[tuple[str, ...]] = ()

    _init_arguments: Mapping[str, Any] = MappingProxyType({})  # that of Configurable

    def __repr__(self) -> str:
        """Return the call."""
        cls = type(self)
        given = self._printed_arguments()
        if cls.__init__ is object.__init__:
            return f"{cls.__name__}()"
        parameters = dict(inspect.signature(cls).parameters)
        printed: list[str] = []
        for name, parameter in parameters.items():
            if name not in given:
                continue
            value = given.pop(name)
            if parameter.kind is parameter.VAR_POSITIONAL:
                printed += map(_text, value)
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                printed.append(_text(value))
            elif name in self.always_printed or not _is_same(value, parameter.default):
                printed.append(f"{name}={_text(value)}")
        printed += [f"{name}={_text(value)}" for name, value in given.items()]  # of **kwargs
        return f"{cls.__name__}({', '.join(printed)})"

    def _printed_arguments(self) -> dict[str, Any]:
        """Return the arguments by name, as they are to be shown."""
        return dict(self._init_arguments)


def _is_same(value: Any, default: Any) -> bool:
    value = _plain(value)
    if value is None or default is None:
        return value is default
    plain = isinstance(value, (bool, int, float, str, list, tuple))
    return plain and type(value) is type(default) and bool(value == default)


def _text(value: Any) -> str:
    value = _plain(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_text(entry)}' for key, entry in value.items())}}}"
    if type(value) is list:
        return f"[{', '.join(map(_text, value))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    return " ".join(repr(value).split()) if not isinstance(value, str) else repr(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def call_of(described: Any) -> str:
    """Return the call that a plain description of a class means; another value as Python writes it."""
    if not (isinstance(described, Mapping) and "class_path" in described):
        return _text(described)
    arguments = (described.get("init_args") or {}).items()
    inner = ", ".join(f"{name}={call_of(value)}" for name, value in arguments)
    return f"{str(described['class_path']).rpartition('.')[2]}({inner})"

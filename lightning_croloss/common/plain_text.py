"""Texts in arguments from a file, where a parser of configs would read more into them than text.

The parser of the command line takes a text for YAML, for the name of a file or for the path of something to
import, wherever an argument is not meant to be text: what a stranger writes there would be imported, and run.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lightning_croloss.errors import PretrainedError

#: What a name is written with; neither YAML nor a file nor a path to import is.
_WORD = re.compile(r"[\w+\- ]*")
#: What makes a text more than one value of YAML.
_NESTED = re.compile(r"[{\[:\n]")
_PLAIN = (bool, int, float, type(None))
_UNKNOWN = str | Callable[..., Any]  # the parser may know better


def check_texts(described: Any, where: str, find: Callable[[object, str], type]) -> None:
    """Refuse texts that stand where objects, functions or numbers are meant.

    Args:
        described: plain values in which ``{"class_path": …, "init_args": …}`` are objects.
        where: the file, for errors.
        find: gives the class of a class path.

    Raises:
        PretrainedError: naming the argument and the text.
    """
    _check(described, Any, where, "", find)


def _check(value: Any, hint: Any, where: str, name: str, find: Callable[[object, str], type]) -> None:
    if isinstance(value, str):
        if not _may_be(value, hint):
            raise PretrainedError(
                f"{where}: {name} is the text {value:.80}, which is not allowed there: it may name what "
                "would be read or imported"
            )
    elif isinstance(value, dict) and "class_path" in value:
        cls = find(value["class_path"], where)
        hints = _hints(cls)
        for argument, entry in (value.get("init_args") or {}).items():
            _check(entry, hints.get(argument, Any), where, f"{cls.__name__}'s {argument}", find)
    elif isinstance(value, dict):
        for key, entry in value.items():
            _check(key, str, where, name, find)
            _check(entry, _of_entries(hint), where, name, find)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            _check(entry, _of_entries(hint), where, name, find)


def _may_be(text: str, hint: Any) -> bool:
    choices = [kind for kind in _choices(hint) if kind not in _PLAIN]
    if text in (entry for kind in choices if get_origin(kind) is Literal for entry in get_args(kind)):
        return True
    others = [kind for kind in choices if kind is not str and get_origin(kind) is not Literal]
    if not others:
        return str in choices
    if all(_is_open(kind) for kind in others):
        return _NESTED.search(text) is None
    return str in choices and _WORD.fullmatch(text) is not None


def _choices(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for part in get_args(hint) for kind in _choices(part)]
    return [hint]


def _is_open(kind: Any) -> bool:
    return kind is Any or isinstance(kind, TypeVar)


def _of_entries(hint: Any) -> Any:
    """Return the type of the entries of a list or dictionary; of several, any of theirs."""
    entries: list[Any] = []
    for kind in _choices(hint):
        origin, arguments = get_origin(kind), get_args(kind)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            entries.append(arguments[-1])
        elif isinstance(origin, type) and issubclass(origin, Collection):
            entries += [argument for argument in arguments if argument is not Ellipsis]
    return Union[tuple(entries)] if entries else Any  # noqa: UP007  (of a tuple that is known now)


def _hints(cls: type) -> dict[str, Any]:
    """Return the types of a constructor's arguments, those that it passes on to its bases included."""
    hints: dict[str, Any] = {}
    for each in reversed(cls.__mro__):
        init = inspect.unwrap(vars(each).get("__init__", object.__init__))
        for name, annotation in getattr(init, "__annotations__", {}).items():
            named = types.SimpleNamespace(__annotations__={name: annotation})
            try:
                hints |= get_type_hints(named, init.__globals__)
            except (NameError, TypeError, AttributeError):  # a name that is there for type checkers only
                hints[name] = _UNKNOWN
    return hints

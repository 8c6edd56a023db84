"""What a field takes, by its type hint: whether a value fits, and how that is said in a user's words."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import torch
import yaml
from jsonargparse import ArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

NOTHING = inspect.Parameter.empty
_LISTS = (list, Sequence, Iterable, Collection, set, frozenset, AbstractSet)
_MAPPINGS = (dict, Mapping)
#: Classes that no config writes: they stand beside plain values in the hints of torch.
_NEVER_WRITTEN = (torch.Tensor, torch.device, torch.nn.Module)
#: One value and many, in a user's words.
_PLAIN = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    Path: ("a path", "paths"),
    timedelta: ("a duration such as 01:30:00", "durations"),
    complex: ("a number", "numbers"),
    bytes: ("text", "texts"),
}
_LONGEST = 60  # letters of a value that is shown


class ClassKind(NamedTuple):
    """A class that a field takes.

    Attributes:
        base: what the class must be derived from.
        left_out: how many of its first arguments the program gives, as an optimizer's parameters.
    """

    base: type
    left_out: int = 0


def members(hint: Any) -> list[Any]:
    """Return the alternatives of a type hint, without ``None``."""
    return [member for member in _alternatives(hint) if member is not type(None)]


def takes_null(hint: Any, default: Any = NOTHING) -> bool:
    """Tell whether ``null`` is a value of the hint, or of a field with that default."""
    alternatives = _alternatives(hint)
    literals = {value for member in alternatives for value in _choices(member)}
    return default is None or type(None) in alternatives or None in literals or _is_free(hint)


def takes_every_text(hint: Any) -> bool:
    """Tell whether any text is a value of the hint."""
    return _is_free(hint) or any(member in (str, Path) for member in members(hint))


def class_kinds(hint: Any) -> list[ClassKind]:
    """Return the classes that a hint takes by ``class_path``, those of its list's entries not among them."""
    found: list[ClassKind] = []
    for member in members(hint):
        if get_origin(member) is Callable:
            given, returned = get_args(member) or (..., Any)
            left_out = len(given) if isinstance(given, list) else 1
            found += [ClassKind(base, left_out) for base in members(returned) if _is_class(base)]
        elif _is_class(member):
            left_out = 1 if issubclass(member, (Optimizer, LRScheduler)) else 0
            found.append(ClassKind(member, left_out))
    return found


def entry_hint(hint: Any) -> Any:
    """Return the hint of the entries of the list that a hint takes, ``NOTHING`` if it takes none."""
    for member in members(hint):
        if member in _LISTS or get_origin(member) in _LISTS:
            return (get_args(member) or (Any,))[0]
        if get_origin(member) is tuple:
            return (get_args(member) or (Any,))[0]
    return NOTHING


def takes_mapping(hint: Any) -> bool:
    """Tell whether a hint takes names with values of the user's own."""
    return _is_free(hint) or any(
        member in _MAPPINGS or get_origin(member) in _MAPPINGS for member in members(hint)
    )


def fits(hint: Any, value: Any) -> bool:
    """Tell whether the parser takes a plain value for a hint; what it cannot judge fits."""
    if value is None:
        return takes_null(hint)
    if _is_free(hint):
        return True
    parser = _parser_of(_hashable(hint))
    if parser is None:
        return True
    try:
        parser.parse_object({"value": value})
    except Exception:  # whatever a hint's own class says of the value
        return False
    return True


def wanted(hint: Any, default: Any = NOTHING, given: Any = NOTHING, names: Callable[..., str] = str) -> str:
    """Say what a field takes: ``a list of whole numbers such as [10, 20]``.

    Args:
        hint: the type hint.
        default: the field's default, of which the example is made.
        given: the wrong value, of which the example is made where it can be.
        names: says what a base class is, as "a loss such as CROLoss".
    """
    said: list[str] = []
    choices = [choice for member in members(hint) for choice in _choices(member) if choice is not None]
    kinds = [member for member in members(hint) if not _choices(member)]
    if float in kinds:
        kinds = [member for member in kinds if member is not int]
    if choices:
        said.append(f"one of {', '.join(dict.fromkeys(map(_choice, choices)))}")
    for member in sorted(kinds, key=lambda member: member is bool):
        said.append(_one(member, default, given, names))
    if takes_null(hint, default) and not choices:
        said.append("null")
    *first, last = dict.fromkeys(word for word in said if word) or ["another value"]
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: Any) -> str:
    """Return a value as a user writes it, cut if it is long."""
    if isinstance(value, str):
        text = repr(value)
    else:
        text = yaml.safe_dump(_simple(value), default_flow_style=True, width=10**6, sort_keys=False)
        text = text.removesuffix("...\n").strip()
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


def _simple(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _simple(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_simple(entry) for entry in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _alternatives(hint: Any) -> list[Any]:
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [found for member in get_args(hint) for found in _alternatives(member)]
    return [type(None) if hint is None else hint]


def _choices(member: Any) -> tuple[Any, ...]:
    return get_args(member) if get_origin(member) is Literal else ()


def _choice(choice: Any) -> str:
    return str(choice) if re.search(r"\w", str(choice)) else repr(choice)


def _is_free(hint: Any) -> bool:
    return any(member in (NOTHING, Any, object) or isinstance(member, str) for member in _alternatives(hint))


def _is_class(member: Any) -> bool:
    return (
        isinstance(member, type)
        and get_origin(member) is None
        and member not in (*_PLAIN, *_LISTS, *_MAPPINGS, *_NEVER_WRITTEN, tuple, object, type(None), type)
    )


class _Hint(NamedTuple):
    """A hint as a key: ``1`` and ``True`` in a Literal are not the same."""

    text: str
    hint: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hint) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def _hashable(hint: Any) -> _Hint:
    return _Hint(f"{hint!r}{getattr(hint, '__module__', '')}", hint)


@functools.lru_cache(maxsize=512)
def _parser_of(key: _Hint) -> ArgumentParser | None:
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=key.hint)
    except ValueError:  # a hint that the parser does not know
        return None
    return parser


def _one(member: Any, default: Any, given: Any, names: Callable[..., str]) -> str:
    if member is str and isinstance(default, str) and default.strip():
        return f"text such as {shown(default)}"
    if member in _PLAIN:
        return _PLAIN[member][0]
    if member in _LISTS or get_origin(member) in _LISTS or get_origin(member) is tuple:
        return _list(member, default, given, names)
    if member in _MAPPINGS or get_origin(member) in _MAPPINGS:
        return "names with values such as {name: value}"
    if kinds := class_kinds(member):
        return " or ".join(names(kind.base) for kind in kinds)
    if get_origin(member) is Callable or member is Callable:
        return "the path of a function such as package.module.function"
    return ""


def _list(member: Any, default: Any, given: Any, names: Callable[..., str]) -> str:
    inner = get_args(member)
    if get_origin(member) is tuple and Ellipsis not in inner:
        kinds = {_many(entry, names) for entry in inner}
        what = f"a list of {len(inner)} {' or '.join(sorted(kinds))}"
    else:
        what = f"a list of {_many(inner[0], names)}" if inner else "a list"
    example = _example(member, default, given)
    return f"{what} such as {example}" if example else what


def _many(entry: Any, names: Callable[..., str]) -> str:
    words = [_PLAIN[member][1] for member in members(entry) if member in _PLAIN]
    words += [f"classes, each {names(kind.base)}" for kind in class_kinds(entry)]
    if any(get_origin(member) in _MAPPINGS for member in members(entry)):
        words.append("names with values")
    if "numbers" in words:
        words = [word for word in words if word != "whole numbers"]
    return " or ".join(dict.fromkeys(words)) or "values"


def _example(member: Any, default: Any, given: Any) -> str:
    """Return a list of the field's own kind: of what was given if that can be one, else the default."""
    if isinstance(given, str):
        parts: list[Any] = [part.strip(" '\"") for part in re.split(r"[,;\s]+", given.strip("[](){} "))]
        made: Any = [_number(part) for part in parts if part]
    else:
        made = [given] if isinstance(given, (bool, int, float)) else []
    for entries in (made, list(default) if isinstance(default, (list, tuple)) else []):
        if entries and fits(member, entries) and not any(isinstance(entry, Mapping) for entry in entries):
            text = shown(entries)
            if "…" not in text:
                return text
    inner = get_args(member)
    if not inner:
        return ""
    numbers = [20, 50] if get_origin(member) is not tuple or Ellipsis in inner else [0.9] * len(inner)
    for entries in (numbers, [0.9] * len(numbers), ["a", "b"]):
        if fits(member, entries):
            return shown(entries).replace("'", "")
    return ""


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

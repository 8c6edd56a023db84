"""Whether the arguments of a constructor are of the types that it declares, in a user's words."""

from __future__ import annotations

import collections.abc
import inspect
import numbers
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, Literal, Union

import numpy as np

#: Sequences whose elements are not looked at: of so many, one would not want to look at each.
_MANY = 1000
_LONG = 60  # more letters of a value than a sentence bears


def annotations_of(init: Callable[..., Any]) -> dict[str, Any]:
    """Return the declared types of a constructor's arguments, without those known to type checkers only."""
    scope = vars(sys.modules[init.__module__]) if init.__module__ in sys.modules else {}
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(init).parameters.items():
        annotation = parameter.annotation
        if (
            parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            or annotation is parameter.empty
        ):
            continue
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, dict(scope))  # the package's own source
            except (NameError, AttributeError, TypeError):  # imported for type checkers only
                continue
        found[name] = annotation
    return found


def mistake_in(arguments: Mapping[str, Any], annotations: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the first argument that is not of its type, and a sentence about it; None if all are.

    Args:
        arguments: what was given, by name.
        annotations: the declared types, see :func:`annotations_of`.
    """
    for name, annotation in annotations.items():
        if name in arguments and not fits(arguments[name], annotation):
            return name, f"{name} must be {wanted(annotation)}, got {told(arguments[name], annotation)}"
    return None


def fits(value: Any, annotation: Any) -> bool:
    """Tell whether a value is of a declared type, or may well be: what cannot be told fits."""
    if annotation is Any or annotation is object:
        return True
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, tuple({type(part) for part in parts}))
    if origin is not None:
        return _fits_generic(value, origin, parts)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is bool:
        return isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1))
    if annotation is int:
        return hasattr(value, "__index__") and not isinstance(value, (bool, type))
    if annotation is float:
        return _is_number(value)
    if annotation is str:
        return isinstance(value, (str, PathLike))  # a path is as good as its text, wherever texts are paths
    if isinstance(annotation, type) and not getattr(annotation, "_is_protocol", False):
        return isinstance(value, annotation)
    return True


def wanted(annotation: Any) -> str:
    """Return what a declared type is called in a sentence."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        named = [wanted(part) for part in parts if part is not type(None)]
        return " or ".join(dict.fromkeys([*named, *(["None"] if type(None) in parts else [])]))
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is collections.abc.Callable:
        return "a function or class that is called later"
    if origin is not None and issubclass(origin, Mapping):
        return "a dictionary"
    if origin is not None:
        inner = {int: " of integers", float: " of numbers", str: " of texts"}
        return "a list" + (inner.get(parts[0], "") if parts else "")
    plain = {bool: "true or false", int: "an integer", float: "a number", str: "a text", None: "None"}
    if annotation in plain:
        return plain[annotation]
    name = getattr(annotation, "__name__", str(annotation))
    return f"an object of the class {name}" if annotation is not PathLike else "a path"


def told(value: Any, annotation: Any) -> str:
    """Return what was given, and what to write instead where that is plain."""
    text = repr(value)
    if len(text) > _LONG or "\n" in text:
        text = f"an object of the class {type(value).__name__}"
    if isinstance(value, type):
        return f"the class {value.__name__} itself: write {value.__name__}(...)"
    if isinstance(value, str) and value in _class_names(annotation):
        return f"the text {value!r}: write {value}()"
    if (module := type(value).__module__).startswith("torch.optim"):
        path = f"{module.rpartition('.')[0]}.{type(value).__name__}"
        return (
            f"a {type(value).__name__} that is built already: the model builds it from its own parameters, "
            f"so write functools.partial({path}, ...)"
        )
    return text


def _fits_generic(value: Any, origin: Any, parts: tuple[Any, ...]) -> bool:
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is PathLike:
        return isinstance(value, PathLike)
    if not (isinstance(origin, type) and issubclass(origin, Iterable)):
        return True
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if isinstance(value, (str, bytes, Mapping, type)) or not isinstance(value, Iterable):
        return False
    if not isinstance(value, (list, tuple)) or len(value) > _MANY or not parts:
        return True
    if issubclass(origin, tuple) and not (len(parts) == 2 and parts[1] is Ellipsis):
        return True
    return all(fits(entry, parts[0]) for entry in value)


def _is_number(value: Any) -> bool:
    if isinstance(value, (bool, str, bytes, type)):
        return False
    return isinstance(value, numbers.Real) or hasattr(value, "__float__")


def _class_names(annotation: Any) -> set[str]:
    """Return the names of the classes whose objects a declared type takes."""
    declared = typing.get_args(annotation) or (annotation,)
    bases = {part for part in declared if isinstance(part, type)} - {
        int,
        float,
        bool,
        str,
        type(None),
        object,
    }
    return {cls.__name__ for base in bases for cls in _subclasses(base)}


def _subclasses(base: type) -> set[type]:
    found: set[type] = set(base.__subclasses__())
    return found.union(*map(_subclasses, found))

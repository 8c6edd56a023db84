"""Kernels and importances by name: as texts, and as the plain dictionaries that files hold."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from lightning_croloss.common.argument_types import told
from lightning_croloss.common.former_names import today
from lightning_croloss.configurable import Configurable
from lightning_croloss.errors import suggest

Part = TypeVar("Part", bound=Configurable)


def named_part(
    argument: str,
    value: object,
    base: type[Part],
    registry: Mapping[str, type[Part]],
    example: Mapping[str, Any],
) -> Part:
    """Return the kernel or importance that is meant; only classes of the registry can be named.

    Args:
        argument: which argument it is, for errors.
        value: an object of ``base``, which stays as it is; a name of the registry, or of a class in it; a
            dictionary of such a ``name`` and arguments; or one of ``class_path`` and ``init_args``.
        base: what it must be.
        registry: the classes by their names.
        example: a dictionary that names one with its argument, for errors.

    Raises:
        ValueError: there is no such name or argument, or one is missing.
        TypeError: it is something else.
    """
    if isinstance(value, base):
        return value
    if isinstance(value, str):
        return _built(argument, value, {}, registry, example)
    if isinstance(value, Mapping):
        name, arguments = _name_and_arguments(argument, value, example)
        return _built(argument, name, arguments, registry, example)
    raise TypeError(
        f"{argument} must be a name such as {next(iter(registry))!r}, a dictionary such as "
        f"{_shown(example)}, or an object of the class {base.__name__}, got {told(value, base)}"
    )


def _name_and_arguments(
    argument: str, value: Mapping[Any, Any], example: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    rest = dict(value)
    if "class_path" in rest and "name" in rest:
        raise ValueError(f"{argument} has both 'name' and 'class_path': leave one of them out")
    if "class_path" in rest:
        name, arguments = rest.pop("class_path"), rest.pop("init_args", None)
        if rest:
            raise ValueError(
                f"{argument} has {next(iter(rest))!r} beside class_path: its arguments belong into "
                f"init_args, or write {_shown({'name': name, **rest})}"
            )
        rest = arguments if arguments is not None else {}
    elif "name" in rest:
        name = rest.pop("name")
    else:
        keys = ", ".join(map(repr, rest)) or "nothing"
        raise ValueError(
            f"{argument} must be a dictionary with a 'name', such as {_shown(example)}, got one with {keys}"
        )
    if not isinstance(name, str) or not isinstance(rest, Mapping):
        wrong = "name" if not isinstance(name, str) else "init_args"
        got = name if wrong == "name" else rest
        what = "a text" if wrong == "name" else "a dictionary of arguments"
        raise TypeError(f"the {wrong} of {argument} must be {what}, got {told(got, str)}")
    return name, dict(rest)


def _built(
    argument: str,
    name: str,
    arguments: Mapping[Any, Any],
    registry: Mapping[str, type[Part]],
    example: Mapping[str, Any],
) -> Part:
    cls = _find(name, registry)
    if cls is None:
        if (base := _find(name, _bases(registry))) is not None:
            known = ", ".join(sorted(key for key, each in registry.items() if issubclass(each, base)))
            raise ValueError(f"{argument} {name!r} is only the base of others; known: {known}")
        own = "; a class of your own is given as an object" if "." in name else ""
        raise ValueError(f"unknown {argument} {name!r}{_nearest(name, registry)}{own}")
    parameters = {} if cls.__init__ is object.__init__ else dict(inspect.signature(cls).parameters)
    for key in arguments:
        if key not in parameters:
            near = suggest(str(key), parameters) or "; it takes none"
            raise ValueError(f"{argument} {name!r} has no argument {key!r}{near}")
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and key not in arguments
    ]
    if missing:
        complete = {"name": name, **arguments} | {key: example.get(key, 1.0) for key in missing}
        raise ValueError(
            f"{argument} {name!r} needs {' and '.join(missing)}: write {argument}={_shown(complete)}"
        )
    return cls(**arguments)


def _find(name: str, registry: Mapping[str, type[Part]]) -> type[Part] | None:
    """Return the class of a name, the name of a class, or a path to it that this package has."""
    if name in registry:
        return registry[name]
    path, _, short = today(name).rpartition(".")
    for cls in registry.values():
        if short == cls.__name__ and (not path or f"{cls.__module__}.".startswith(f"{path}.")):
            return cls
    return None


def _bases(registry: Mapping[str, type[Part]]) -> dict[str, type[Any]]:
    """Return the abstract bases of classes by their names."""
    bases = {base for cls in registry.values() for base in cls.__mro__ if inspect.isabstract(base)}
    return {base.__name__: base for base in bases}


def _nearest(name: str, registry: Mapping[str, type[Part]]) -> str:
    """Return a suggestion of the name or class that is most like ``name``, whatever its case."""
    classes = {cls.__name__.lower(): cls.__name__ for cls in registry.values()}
    short = name.rpartition(".")[2]
    for word in (short, short.lower()):
        for known in (registry, classes.values()):
            if "did you mean" in (near := suggest(word, known)):
                return near
    if short.lower() in classes:
        return f"; did you mean {classes[short.lower()]!r}?"
    return suggest(name, registry)


def _shown(example: Mapping[str, Any]) -> str:
    return json.dumps(dict(example), default=repr)

"""Objects that remember how they were built, so that a checkpoint can build them again.

A checkpoint must open with ``torch.load(weights_only=True)``, whether the model was made by the command
line or in Python. So hyperparameters are kept as plain ``{"class_path": ..., "init_args": ...}``
dictionaries, the form in which a config file writes them.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from lightning_croloss.common.argument_types import annotations_of, mistake_in
from lightning_croloss.common.called_later import read_called_later

#: Packages whose public names are known to stay.
SHORTENED = ("lightning_croloss", "lightning", "torch")
#: Packages whose classes are named in files by another public one, which earlier releases can read.
NAMED_BY = {"lightning_croloss.schedules": "lightning_croloss.callbacks"}


class Configurable:
    """Mixin: records the arguments of the constructor call, including defaults.

    A subclass needs nothing but an ordinary ``__init__``. Its ``**kwargs``, if it takes any, are those of its
    base: the base's defaults are recorded too, so that the same object is built again after a default has
    changed. :func:`to_config` turns the instance into a plain dictionary. :meth:`after_init` is called once,
    when the most derived constructor has returned.
    """

    _init_arguments: Mapping[str, Any] = MappingProxyType({})  # of a class without a constructor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    def after_init(self) -> None:
        """Run when the whole object is built; does nothing unless overridden."""

    def _record_chosen(self, of: type, **chosen: Any) -> None:
        """Record what the constructor of a class made of its arguments in place of them.

        Does nothing in an object of a subclass with a constructor of its own, whose arguments are others.
        """
        if type(self).__init__ is of.__init__:  # type: ignore[misc]
            self.__dict__["_init_arguments"] = {**self._init_arguments, **chosen}

    def _record_passed_on(self, of: type, **chosen: Any) -> None:
        """Record the same in an object of a subclass that passes on, by ``**kwargs``, what it gets of these.

        Leaves out an argument that a constructor on the way takes by name: what it passes on may be another.
        """
        taken = _taken_before(type(self), of)
        passed = {
            name: value
            for name, value in chosen.items()
            if name in self._init_arguments and name not in taken
        }
        self.__dict__["_init_arguments"] = {**self._init_arguments, **passed}

    def _leave_unrecorded(self, of: type, *names: str) -> None:
        """Record nothing of arguments of a class that are None, so that earlier releases know all others."""
        unknown = {*names} - _taken_before(type(self), of)
        known = self._init_arguments
        kept = {name: value for name, value in known.items() if value is not None or name not in unknown}
        self.__dict__["_init_arguments"] = kept


def _taken_before(cls: type, of: type) -> set[str]:
    """Return the arguments that constructors of subclasses take by name on the way to that of ``of``."""
    taken: set[str] = set()
    for base in cls.__mro__[: cls.__mro__.index(of)]:
        if "__init__" in base.__dict__:
            taken.update(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    return taken


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)
    parameters = signature.parameters
    takes_more = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())

    @functools.wraps(init)
    def recorded(self: Configurable, *args: Any, **kwargs: Any) -> None:
        state = self.__dict__  # nn.Module's own __setattr__ is not ready before its constructor has run
        outermost = "_init_arguments" not in state
        bound = signature.bind(self, *args, **kwargs)
        if outermost:
            bound.apply_defaults()
            arguments = dict(bound.arguments)
            arguments.pop(next(iter(parameters)))
            for name, parameter in parameters.items():
                if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                    arguments.update(arguments.pop(name, {}))
            state["_init_arguments"] = {name: _kept(value) for name, value in arguments.items()}
        elif state.get("_reaches_base"):
            # arguments that no subclass on the way here has given
            for name, parameter in parameters.items():
                if parameter.default is not inspect.Parameter.empty and name not in bound.arguments:
                    state["_init_arguments"].setdefault(name, parameter.default)
        state["_reaches_base"] = takes_more and (outermost or state.get("_reaches_base", False))
        given = bound.arguments
        try:
            init(self, *args, **kwargs)
        except Exception as error:
            # what a constructor itself says of an argument is better informed
            mistake = _mistake(init, given)
            said = isinstance(error, (ValueError, TypeError)) and mistake and _names(error, mistake[0])
            if mistake is None or said:
                raise
            raise TypeError(f"{type(self).__name__}: {mistake[1]}") from error
        if mistake := _mistake(init, given):
            raise TypeError(f"{type(self).__name__}: {mistake[1]}")
        if outermost:
            del state["_reaches_base"]
            self.after_init()

    return recorded


def _kept(value: Any) -> Any:
    """Return a plain dictionary or list as it is now, whatever its owner does to it later."""
    if type(value) is dict:
        return {key: _kept(entry) for key, entry in value.items()}
    return [_kept(entry) for entry in value] if type(value) is list else value


def _mistake(init: Callable[..., None], given: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return an argument of a constructor of this package that is of another type than declared."""
    if not init.__module__.startswith(SHORTENED[0]):
        return None
    return mistake_in(given, _annotations_of(init))


_annotations_of = functools.cache(annotations_of)


def _names(error: BaseException, argument: str) -> bool:
    text = str(error)
    return "<class " not in text and re.search(rf"\b{argument}\b", text) is not None


def class_path(cls: type) -> str:
    """Return the dotted path by which ``cls`` is imported, and named in files.

    For this package, torch and Lightning it is the shortest public one: the defining module may change.
    """
    packages = cls.__module__.split(".")
    if packages[0] in SHORTENED:
        for end in range(1, len(packages)):
            package = sys.modules.get(path := ".".join(packages[:end]))
            public = getattr(package, "__all__", ())
            if cls.__qualname__ in public and getattr(package, cls.__qualname__) is cls:
                return f"{NAMED_BY.get(path, path)}.{cls.__qualname__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def to_config(value: Any) -> Any:
    """Turn ``value`` into plain types that a weights-only checkpoint and a YAML file can hold.

    Args:
        value: a number, string, None, list, tuple, dictionary, :class:`Configurable`, class or
            ``functools.partial`` of a class, nested at will.

    Raises:
        TypeError: for anything else (a lambda, for example), which could not be built again.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [to_config(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): to_config(entry) for key, entry in value.items()}
    if isinstance(value, Configurable):
        arguments = {name: to_config(entry) for name, entry in value._init_arguments.items()}
        return {"class_path": class_path(type(value)), "init_args": arguments}
    if isinstance(value, functools.partial):
        given = read_called_later(value)
        if given is not None and given.cls is not None:
            if given.positional:
                raise TypeError(f"{given} cannot be kept in a checkpoint: give its arguments by name")
            return {"class_path": class_path(given.cls), "init_args": to_config(given.keywords)}
    if isinstance(value, type):
        return {"class_path": class_path(value)}
    if isinstance(value, (bool, int, float, str)):  # a subclass, such as an enumeration
        return to_config(value.real if isinstance(value, (int, float)) else str(value))
    raise TypeError(
        f"{value!r} of type {type(value).__name__} cannot be kept in a checkpoint: "
        "pass plain values, objects of this library, or functools.partial of a class"
    )

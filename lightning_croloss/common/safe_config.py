"""Building objects from plain configs that a stranger may have written.

Nothing is imported because a config names it: a class path is looked up among the imported classes of this
package, torch's optimizers and schedulers, and what the caller allows. All other values stay what they are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from croloss_serving.common.terminal import shortened
from lightning_croloss.common.former_names import today
from lightning_croloss.configurable import Configurable, class_path
from lightning_croloss.errors import PretrainedError, suggest

_PACKAGE = "lightning_croloss."
#: Characters of what a constructor says, which quotes its arguments.
MOST_TOLD = 600
#: Classes that are called later, with the parameters or the optimizer.
_CALLED_LATER = (Optimizer, LRScheduler)
#: Classes that are no part of a model: what reads data, or is a model itself.
_NO_PART = (LightningDataModule, LightningModule, Metric)
#: What a constructor fails with if its arguments are not as it wants them.
_UNFIT = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError, AssertionError)


class TrustedClasses:
    """The classes that a config may name.

    Args:
        allow: further classes, or their dotted paths, which are imported.
        imported: whether to trust subclasses of this package's bases, and optimizers and schedulers, that
            others wrote and the running program has imported.
        tolerated: class paths allowed in the section "trainer", which is checked but never built here.
        advice: what to do to have a class trusted, for errors; ``{}`` stands for its class path.

    Raises:
        ValueError: an allowed path is not that of a class.
    """

    def __init__(
        self,
        allow: Iterable[type | str] = (),
        imported: bool = False,
        tolerated: Iterable[str] = (),
        advice: str = "allow=[{!r}]",
    ) -> None:
        self._advice = advice
        self._known: dict[str, type] = {class_path(ReduceLROnPlateau): ReduceLROnPlateau}
        for base in (Configurable, *_CALLED_LATER):
            for cls in _subclasses(base):
                ours = cls.__module__.startswith(_PACKAGE)
                if (ours or imported) and not issubclass(cls, Callback):
                    self._known.update(dict.fromkeys(_names(cls), cls))
        for module in (torch.optim, torch.optim.lr_scheduler):
            for cls in _classes_in(module):
                if issubclass(cls, _CALLED_LATER):
                    self._known.update(dict.fromkeys(_names(cls), cls))
        for entry in allow:
            cls = _imported(entry) if isinstance(entry, str) else entry
            self._known.update({class_path(cls): cls, cls.__name__: cls})
            if isinstance(entry, str):
                self._known[entry] = cls
        self._of_trainer = frozenset(tolerated)

    def find(self, path: object, where: str) -> type:
        """Return the class of a class path.

        Raises:
            PretrainedError: it is not among the trusted ones.
        """
        found = self._known.get(today(path)) if isinstance(path, str) else None
        if found is None:
            shown = shortened(path if isinstance(path, str) else repr(path))
            near = suggest(shown, self._known)
            raise PretrainedError(
                f"{where} names the class {shown!r}, which is neither in this package nor allowed"
                f"{near if 'did you mean' in near else ''}; if you trust it: "
                f"{self._advice.format(shown)}"
            )
        return found

    def check(self, config: Mapping[str, Any], where: str) -> None:
        """Refuse a config that names a class which is not trusted, in any of its sections.

        Raises:
            PretrainedError: a class is not trusted; the message names it.
        """
        for section, content in config.items():
            for path in _class_paths(content):
                if section != "trainer" or not isinstance(path, str) or today(path) not in self._of_trainer:
                    self.find(path, where)
        model = config.get("model")
        for path in _class_paths(model.get("init_args") if isinstance(model, Mapping) else None):
            self._find_part(path, where)

    def build(self, value: Any, where: str) -> Any:
        """Build what a config describes.

        Args:
            value: plain values; each ``{"class_path": …, "init_args": …}`` becomes an object, or the
                ``functools.partial`` of an optimizer or scheduler.
            where: the file, for errors.

        Raises:
            PretrainedError: a class is not trusted, or does not take the arguments.
        """
        return self._build(value, where, self.find)

    def _find_part(self, path: object, where: str) -> type:
        cls = self.find(path, where)
        if issubclass(cls, _NO_PART):
            raise PretrainedError(
                f"{where} names the class {shortened(str(path))!r} as a part of a model, which it cannot be"
            )
        return cls

    def _build(self, value: Any, where: str, find: Callable[[object, str], type]) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._build(entry, where, self._find_part) for entry in value]
        if not isinstance(value, dict):
            return value
        if "class_path" not in value:
            return {name: self._build(entry, where, self._find_part) for name, entry in value.items()}
        cls = find(value["class_path"], where)
        if inspect.isabstract(cls):
            raise PretrainedError(f"{where}: {cls.__name__} is only the base of others")
        arguments = value.get("init_args") or {}
        if not isinstance(arguments, dict) or value.keys() - {"class_path", "init_args"}:
            raise PretrainedError(f"{where}: {cls.__name__} must have class_path and init_args only")
        built = {str(name): self._build(entry, where, self._find_part) for name, entry in arguments.items()}
        _refuse_unknown(cls, built, where)
        try:
            if issubclass(cls, _CALLED_LATER):
                inspect.signature(cls).bind(None, **built)  # what comes first is known when it is called
                return functools.partial(cls, **built)
            return cls(**built)
        except PretrainedError:
            raise
        except _UNFIT as error:
            told = " ".join(str(error).partition("Exception raised from")[0].split()) or type(error).__name__
            told = shortened(told, MOST_TOLD)
            raise PretrainedError(f"{where}: {cls.__name__} cannot be built: {told}") from error


def _refuse_unknown(cls: type, arguments: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that neither a class nor the bases that it passes them on to have."""
    known: set[str] = set()
    for each in cls.__mro__:
        if "__init__" not in vars(each):
            continue
        parameters = inspect.signature(vars(each)["__init__"]).parameters
        known |= parameters.keys()
        if not any(entry.kind is inspect.Parameter.VAR_KEYWORD for entry in parameters.values()):
            break
    for name in map(shortened, sorted(arguments.keys() - known)):
        near = suggest(name, known - {"self", "args", "kwargs"})
        raise PretrainedError(
            f"{where}: {cls.__name__} cannot be built: it has no argument {name!r}"
            f"{near if 'did you mean' in near else ''}"
        )


def _subclasses(base: type) -> Iterator[type]:
    cls: type
    for cls in base.__subclasses__():
        yield cls
        yield from _subclasses(cls)


def names_of_classes(module: Any) -> set[str]:
    """Return every name by which a config may call a class of a module."""
    return {name for cls in _classes_in(module) for name in _names(cls)}


def _classes_in(module: Any) -> Iterator[type[Any]]:
    for value in vars(module).values():
        if isinstance(value, type):
            yield value


def _names(cls: type) -> Iterator[str]:
    """Yield what a config may call a class: its name, alone or after any package that holds it."""
    yield cls.__name__
    yield class_path(cls)
    yield f"{cls.__module__}.{cls.__qualname__}"
    packages = cls.__module__.split(".")
    for end in range(1, len(packages)):
        yield ".".join([*packages[:end], cls.__name__])


def _class_paths(value: Any) -> Iterator[object]:
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _class_paths(entry)
    elif isinstance(value, dict):
        if "class_path" in value:
            yield value["class_path"]
        for entry in value.values():
            yield from _class_paths(entry)


def _imported(path: str) -> type:
    module, _, name = path.rpartition(".")
    cls: Any
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        cls = None
    if not isinstance(cls, type):
        raise ValueError(f"allow: {path!r} is not a class: write package.module.Class")
    return cls

"""The classes that a config can name, and their fields."""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

from jsonargparse._parameter_resolvers import get_signature_parameters
from lightning.pytorch import Callback
from lightning.pytorch.cli import ReduceLROnPlateau
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_croloss.cli.config.field_types import NOTHING, ClassKind
from lightning_croloss.common.former_names import today
from lightning_croloss.configurable import Configurable
from lightning_croloss.models import RetrievalModel
from lightning_croloss.pretrained.saving import FROM_DATA

#: What a base class is to a user, and the class that is most often meant.
NOUNS = {
    "RetrievalModel": ("a model", "YouTubeDNN"),
    "RetrievalDataModule": ("a data module", "TableDataModule"),
    "RetrievalLoss": ("a loss", "CROLoss"),
    "Importance": ("an importance", "PowerImportance"),
    "Kernel": ("a kernel", ""),
    "Negatives": ("negatives", "UniformNegatives"),
    "Split": ("a split", "LeaveOneOut"),
    "Schedule": ("a schedule", "Linear"),
    "Optimizer": ("an optimizer", "torch.optim.Adam"),
    "LRScheduler": ("a scheduler of the learning rate", "torch.optim.lr_scheduler.StepLR"),
    "ReduceLROnPlateau": ("", ""),
    "Callback": ("a callback", "ModelCheckpoint"),
    "Logger": ("a logger", "CSVLogger"),
    "Profiler": ("a profiler", "SimpleProfiler"),
    "Accelerator": ("an accelerator", ""),
    "Strategy": ("a strategy", ""),
}
#: The classes that are advised first.
USUAL = (
    *(example.rpartition(".")[2] for _, example in NOUNS.values()),
    *("WandbLogger", "TensorBoardLogger", "EarlyStopping", "CROLossCallback", "AdamW", "SGD"),
)
_BASES: tuple[type, ...] = (Configurable, Callback, Logger, Optimizer, LRScheduler, ReduceLROnPlateau)
LIKE = 0.6  # how like two words are, as difflib has it, if one may be meant by the other
SLIP = 0.8  # and if it is a mere slip


class Field(NamedTuple):
    """A field of a class or a section.

    Attributes:
        name: its name.
        hint: its type hint, ``NOTHING`` if it has none.
        default: its default, ``NOTHING`` if it must be given.
    """

    name: str
    hint: Any
    default: Any


def noun(base: type) -> str:
    """Say what a base class is: ``a loss such as CROLoss``."""
    what, example = NOUNS.get(base.__name__, (f"a {base.__name__}", ""))
    return f"{what} such as {example}" if example else what


def fields_of(cls: type, left_out: int = 0) -> dict[str, Field]:
    """Return the fields that a config may set of a class.

    Args:
        cls: the class.
        left_out: how many of its first arguments the program gives.
    """
    found = _fields_of(cls)
    known = FROM_DATA if issubclass(cls, RetrievalModel) else ()
    return {name: found[name] for name in list(found)[left_out:] if name not in known}


@functools.lru_cache(maxsize=512)
def _fields_of(cls: type[Any]) -> dict[str, Field]:
    silent = logging.getLogger("lightning_croloss.cli.config.class_fields")
    silent.disabled = True
    try:
        parameters: Iterable[Any] = get_signature_parameters(cls, logger=silent)
    except Exception:  # what the parser cannot resolve: the constructor's own arguments
        parameters = inspect.signature(cls).parameters.values()
    kinds = inspect.Parameter
    return {
        found.name: Field(found.name, found.annotation, found.default)
        for found in parameters
        if found.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    }


def find_class(name: str, kinds: Iterable[ClassKind] = ()) -> type | None:
    """Return the class of a class path or a short name, None if there is none.

    Args:
        name: what a config calls it.
        kinds: what it must be derived from if it is a short name; any base if there are none.
    """
    name = today(name)
    if "." not in name:
        bases = [kind.base for kind in kinds] or list(_BASES)
        return next((cls for base in bases for cls in with_subclasses(base) if cls.__name__ == name), None)
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception:  # whatever the import of a user's module raises
        return None
    return found if isinstance(found, type) else None


def classes_of(kinds: Iterable[ClassKind]) -> dict[str, type]:
    """Return the concrete classes of some kinds by their short names."""
    return {
        cls.__name__: cls
        for kind in kinds
        for cls in with_subclasses(kind.base)
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_") and cls is not kind.base
    }


def nearest(name: str, known: Iterable[str], likeness: float = LIKE) -> str | None:
    """Return the known name that is most like ``name``, whatever the case; never ``name`` itself."""
    by_form: dict[str, list[str]] = {}
    for word in known:
        if word != name:
            by_form.setdefault(_form(word), []).append(word)
    found = difflib.get_close_matches(_form(name), by_form, n=1, cutoff=likeness)
    return min(by_form[found[0]], key=len) if found else None


def by_word(word: str, known: Iterable[str]) -> str | None:
    """Return the only class, or the shortest, whose name begins with a word, or holds it: ``wandb``."""
    form, names = _form(word), sorted(known, key=lambda name: (len(name), name))
    if len(form) < 3:
        return None
    found = [name for name in names if _form(name).startswith(form)]
    found = found or [name for name in names if form in _form(name)]
    return found[0] if found else None


def similar_class(name: str, known: Iterable[str]) -> str | None:
    """Return the class that a wrong name most likely means."""
    names = set(known)
    last = re.split(r"[.\s/]", name.strip(" '\""))[-1] if name.strip(" '\"") else ""
    if last in names and last != name:
        return last
    return nearest(last, names, SLIP) or by_word(last, names) or nearest(last, names)


def _form(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def with_subclasses(base: type) -> Iterator[type]:
    """Walk a class and all that are derived from it, each once."""
    waiting: list[type] = [base]
    seen: set[type] = {base}
    found: type
    while waiting:
        cls = waiting.pop(0)
        yield cls
        for found in type.__subclasses__(cls):
            if found not in seen:
                seen.add(found)
                waiting.append(found)


__all__ = [
    "NOTHING",
    "Field",
    "by_word",
    "classes_of",
    "fields_of",
    "find_class",
    "nearest",
    "noun",
    "similar_class",
    "with_subclasses",
]

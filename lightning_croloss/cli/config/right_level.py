"""Where a field belongs that stands at the wrong level of a config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_croloss.cli.config.class_fields import (
    NOUNS,
    SLIP,
    Field,
    classes_of,
    fields_of,
    find_class,
    nearest,
)
from lightning_croloss.cli.config.field_types import NOTHING, class_kinds, entry_hint
from lightning_croloss.cli.config.sources import Keys

_DEPTH = 3  # levels of classes within classes, as a model's loss's importance


class Places:
    """The fields of a whole config, and those that it could have.

    Args:
        whole: the config as it was written.
        root: the command's own fields, by dotted names.
    """

    def __init__(self, whole: Mapping[Any, Any], root: Mapping[str, Field]) -> None:
        self._whole, self._root = whole, root

    def set(self, name: str, inside: Keys) -> Keys | None:
        """Return the keys of a field of a class that the config names, the nearest one.

        Args:
            name: the field.
            inside: the keys of where it stands in vain.
        """
        found = [
            (*keys, "init_args", name)
            for keys, cls in _classes_in(self._whole, ())
            if name in _fields(cls) and (*keys, "init_args") != inside
        ]
        return max(found, key=lambda keys: (_shared(keys, inside), -len(keys)), default=None)

    def possible(
        self, name: str, inside: Keys, fields: Mapping[str, Field], like: bool = False
    ) -> Keys | None:
        """Return the keys of a field of the command, or of a class that could be named, the nearest one.

        Args:
            name: the field.
            inside: the keys of where it stands in vain.
            fields: the fields that there are.
            like: whether a name that is much like it will do.
        """
        if below := next(_below(name, inside, fields, like, _DEPTH), None):
            return below
        for option in self._root:
            section, _, last = option.rpartition(".")
            if (match := _match(name, [last], like)) and (section,) != inside:
                return (section, match) if section else (match,)
        own = {key: field for key, field in self._root.items() if "." not in key}
        return next(_below(name, (), own, like, _DEPTH), None)


def _match(name: str, known: Iterable[str], like: bool) -> str | None:
    return nearest(name, known, SLIP) if like else name if name in known else None


def _fields(cls: type) -> dict[str, Field]:
    return fields_of(cls, 1 if issubclass(cls, (Optimizer, LRScheduler)) else 0)


def _shared(keys: Keys, others: Keys) -> int:
    """Return how many names two fields' keys begin with in common."""
    return next(
        (at for at, (one, other) in enumerate(zip(keys, others, strict=False)) if one != other),
        min(len(keys), len(others)),
    )


def _classes_in(value: Any, keys: Keys) -> Iterator[tuple[Keys, type]]:
    """Yield the classes that a config names, and where."""
    if isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _classes_in(entry, (*keys, at) if len(value) > 1 else keys)
    elif isinstance(value, Mapping):
        path = value.get("class_path")
        if isinstance(path, str) and (cls := find_class(path)) is not None:
            yield keys, cls
        for key, entry in value.items():
            yield from _classes_in(entry, (*keys, str(key)))
    elif isinstance(value, str) and value.isidentifier() and (cls := find_class(value)) is not None:
        yield keys, cls


def _below(name: str, inside: Keys, fields: Mapping[str, Field], like: bool, depth: int) -> Iterator[Keys]:
    """Yield the fields of the classes that the arguments here take, the usual class first."""
    deeper: list[tuple[Keys, type]] = []
    for field in fields.values():
        kinds = [] if entry_hint(field.hint) is not NOTHING else class_kinds(field.hint)
        known = classes_of(kinds)
        usual = {NOUNS.get(kind.base.__name__, ("", ""))[1].rpartition(".")[2] for kind in kinds}
        for cls in sorted(known.values(), key=lambda cls: cls.__name__ not in usual):
            keys = (*inside, field.name, "init_args")
            if match := _match(name, _fields(cls), like):
                yield (*keys, match)
            deeper.append((keys, cls))
    if depth > 1:
        for keys, cls in deeper:
            yield from _below(name, keys, _fields(cls), like, depth - 1)


__all__ = ["Places"]

"""Find the first mistake in a config that the parser refused, and say it in one sentence.

The parser tries one type after the other and tells of each. Here the values as they were written are compared
with the signatures of the classes that they name, from the outside in, so that a sentence can name the field.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from croloss_serving.common.home_folder import expanded
from lightning_croloss.cli.config.class_fields import (
    SLIP,
    Field,
    classes_of,
    fields_of,
    find_class,
    nearest,
    noun,
)
from lightning_croloss.cli.config.field_types import (
    NOTHING,
    ClassKind,
    class_kinds,
    entry_hint,
    fits,
    members,
    shown,
    takes_every_text,
    takes_mapping,
    takes_null,
    wanted,
)
from lightning_croloss.cli.config.right_level import Places
from lightning_croloss.cli.config.sentences import MANY, Sentences, left_out, listed, nouns, short_name
from lightning_croloss.cli.config.sources import (
    ConfigMistakeError,
    Keys,
    Source,
    dotted,
    plain_value,
    read_config,
)


class ConfigCheck:
    """The fields of a command, and what its config sets so far.

    Args:
        options: the command's own fields by their dotted names, as ``model`` and ``trainer.max_epochs``.
        only: the one section to look at; every one if empty.
    """

    def __init__(self, options: Mapping[str, Field], only: str = "") -> None:
        self._options = {name: field for name, field in options.items() if "." not in name}
        self._sections: dict[str, dict[str, Field]] = {}
        for name, field in options.items():
            section, _, rest = name.partition(".")
            if rest:
                self._sections.setdefault(section, {})[rest] = field
        self._only = only
        self._tree: dict[Any, Any] = {}
        for name, field in options.items():
            section, _, rest = name.partition(".")
            if isinstance(field.default, dict) and "class_path" in field.default:
                (self._tree.setdefault(section, {}) if rest else self._tree)[rest or name] = field.default
        self._root = options
        self._say = Sentences(options)

    def prepare(self, source: Source) -> None:
        """Remember what a source holds, for advice on the sources before it."""
        _merge(self._say.whole, source.tree)

    def check(self, source: Source) -> None:
        """Compare a source with the signatures, and take over what it sets.

        Raises:
            ConfigMistakeError: the first mistake.
        """
        self._say.option, self._say.bare = source.option, source.bare
        for key, value in source.tree.items():
            if self._only and key != self._only and not source.option:
                continue
            try:
                self._top(key, value)
            except ConfigMistakeError as mistake:
                raise ConfigMistakeError(f"{mistake}{source.where(mistake.at)}") from None

    def check_complete(self) -> None:
        """Look for fields that nothing has set though they have no default.

        Raises:
            ConfigMistakeError: the first one.
        """
        for key in (*self._options, *self._sections):
            self._complete((key,), self._tree.get(key), self._options.get(key))

    def _top(self, key: Any, value: Any) -> None:
        name, appends, value = _unpacked(key, value)
        if name in self._options:
            field = self._options[name]
            self._tree[name] = self._field((name,), field, value, self._tree.get(name), appends)
        elif name in self._sections:
            self._section(name, value)
        elif near := nearest(name, (*self._options, *self._sections, "config"), SLIP):
            raise ConfigMistakeError(f"there is no field {name!r}; did you mean {near!r}?", (), (name,))
        else:
            places = Places(self._say.whole, self._root)
            # the seed of a whole run is seldom one of a class
            whole = ("seed_everything",) if name == "seed" and "seed_everything" in self._options else None
            found = whole or places.set(name, ()) or places.possible(name, (), {})
            advice = (
                f"; did you mean {dotted(found)!r}?"
                if found
                else f"; {listed((*self._sections, *self._options))}"
            )
            raise ConfigMistakeError(f"there is no field {name!r}{advice}", (), (name,))

    def _section(self, section: str, value: Any) -> None:
        fields, set_ = self._sections[section], self._tree.setdefault(section, {})
        if isinstance(value, str) and (path := Path(value)).suffix in (".yaml", ".yml") and path.is_file():
            value = read_config(value).tree
        if value is None:
            return
        if not isinstance(value, dict):
            example = "max_epochs" if "max_epochs" in fields else next(iter(fields))
            raise ConfigMistakeError(
                f"must consist of fields such as {example}, got {shown(value)}{self._how(section, value)}",
                (section,),
            )
        for key, entry in value.items():
            name, appends, inner = _unpacked(key, entry)
            if name not in fields:
                self._say.unknown_field(name, (section,), (section,), fields, "")
            set_[name] = self._field((section, name), fields[name], inner, set_.get(name), appends)

    def _field(self, keys: Keys, field: Field, value: Any, previous: Any, appends: bool = False) -> Any:
        """Return the value that a field has after it was set, classes as class_path and init_args."""
        if isinstance(value, str) and not takes_every_text(field.hint):
            value = plain_value(value)
        if value is None:
            if takes_null(field.hint, field.default):
                return None
            self._say.wrong_value(keys, field, value)
        hint = field.hint
        if field.hint is NOTHING:
            return value
        kinds, entry = class_kinds(hint), entry_hint(hint)
        inner = class_kinds(entry) if entry is not NOTHING else []
        if appends:
            entries = value if isinstance(value, list) else [value]
            kept = previous if isinstance(previous, list) else []
            if inner:
                return kept + [self._entry(keys, entry, found) for found in entries]
            return kept + entries
        if isinstance(value, list) and inner:
            one = len(value) == 1
            return [self._entry(keys if one else (*keys, at), entry, found) for at, found in enumerate(value)]
        if isinstance(value, dict) and (kinds or inner):
            return self._mapping(keys, field, kinds or inner, value, previous, not kinds)
        if isinstance(value, str) and (kinds or inner) and not self._is_plain(field, value):
            if Path(value).suffix in (".yaml", ".yml", ".json"):
                return self._field(keys, field, self._file(keys, value), previous)
            return self._described(keys, kinds or inner, value, previous)
        if not self._is_plain(field, value):
            self._say.wrong_value(keys, field, value)
        return value

    def _entry(self, keys: Keys, hint: Any, value: Any) -> Any:
        return self._field(keys, Field(str(keys[-1]), hint, NOTHING), value, None)

    def _mapping(
        self, keys: Keys, field: Field, kinds: list[ClassKind], value: Any, previous: Any, in_list: bool
    ) -> Any:
        described = isinstance(previous, dict) and "class_path" in previous and "name" not in value
        if "class_path" not in value and takes_mapping(field.hint) and not described:
            return value
        if isinstance(previous, list) and previous and "class_path" not in value:
            entry = class_kinds(entry_hint(field.hint))
            return [*previous[:-1], self._object(keys, entry, value, previous[-1])]
        if in_list and "class_path" in value:
            self._object(keys, kinds, value, None)
            raise ConfigMistakeError(
                "must be a list of classes, got one class: put '- ' before class_path", keys
            )
        return self._object(keys, kinds, value, previous)

    def _is_plain(self, field: Field, value: Any) -> bool:
        """Tell whether a value fits one of the alternatives that are not classes."""
        alternatives = [member for member in members(field.hint) if not class_kinds(member)]
        if isinstance(value, str) and takes_every_text(field.hint):
            return True
        if isinstance(value, list):
            alternatives = [member for member in alternatives if not class_kinds(entry_hint(member))]
        return any(fits(member, value) for member in alternatives)

    def _object(self, keys: Keys, kinds: list[ClassKind], value: dict[Any, Any], previous: Any) -> Any:
        """Check a mapping that describes a class."""
        known = previous if isinstance(previous, dict) and "class_path" in previous else None
        value = {key: entry for key, entry in value.items() if key != "__path__"}
        if "class_path" in value:
            path = value["class_path"]
            if not isinstance(path, str):
                raise ConfigMistakeError(f"class_path must name {nouns(kinds)}, got {shown(path)}", keys)
            described = self._described(keys, kinds, path, previous)
            self._say.refuse_beside(keys, kinds, value, described)
            given = value.get("init_args", {})
        elif known:
            described = dict(known)
            direct = not value.keys() & {"init_args", "dict_kwargs"}
            given = value if direct else value.get("init_args", {})
        else:
            described = self._say.implied(keys, kinds, value)
            given = value.get("init_args", value)
        if "init_args" in value and not isinstance(given, dict):
            hint = ""
            if isinstance(given, str) and (pair := re.fullmatch(r"(\w+)[ :=]+([^:]+)", given)):
                hint = f": write '{pair[1]}: {pair[2]}'"
            raise ConfigMistakeError(
                f"must hold fields of {short_name(described['class_path'])}, each as 'name: value', got "
                f"{shown(given)}{hint or '; leave init_args out if there are none'}",
                (*keys, "init_args"),
            )
        cls = find_class(described["class_path"], kinds)
        if cls is not None:
            inner = dict(described.get("init_args") or {})
            self._arguments(keys, cls, left_out(cls, kinds), given, inner)
            described["init_args"] = inner
        return described

    def _arguments(
        self, keys: Keys, cls: type, skipped: int, given: Mapping[Any, Any], set_: dict[Any, Any]
    ) -> None:
        fields = fields_of(cls, skipped)
        for key, entry in given.items():
            name, appends, value = _unpacked(key, entry)
            if name not in fields:
                self._say.unknown_field(name, keys, (*keys, "init_args"), fields, cls.__name__)
            set_[name] = self._field((*keys, "init_args", name), fields[name], value, set_.get(name), appends)

    def _described(self, keys: Keys, kinds: list[ClassKind], path: str, previous: Any) -> dict[str, Any]:
        """Return the description of a class, with what was set before and what it still takes."""
        cls = self._class(keys, kinds, path)
        if cls is None or not isinstance(previous, dict) or "class_path" not in previous:
            return {"class_path": path}
        fields = fields_of(cls, left_out(cls, kinds))
        kept = {name: entry for name, entry in (previous.get("init_args") or {}).items() if name in fields}
        return {"class_path": path, "init_args": kept}

    def _class(self, keys: Keys, kinds: list[ClassKind], path: str) -> type | None:
        """Return the class that a config names; None for a function, which may return one."""
        cls = find_class(path, kinds)
        bases = tuple(kind.base for kind in kinds)
        if cls is None:
            self._say.unknown_class(keys, kinds, path)
            return None
        if not issubclass(cls, bases):
            raise ConfigMistakeError(f"{short_name(path)!r} is not {nouns(kinds)}", keys)
        if inspect.isabstract(cls) or cls in (Optimizer, LRScheduler):
            known = classes_of([ClassKind(cls)])
            named = listed(known) if len(known) < MANY else "name one of them"
            raise ConfigMistakeError(f"{path!r} is only the base of others; {named}", keys)
        return cls

    def _file(self, keys: Keys, value: str) -> Any:
        if not expanded(value).is_file():
            raise ConfigMistakeError(f"there is no file {value!r}", keys)
        return read_config(value).tree

    def _how(self, section: str, value: Any) -> str:
        if self._say.option and isinstance(value, str) and "=" in value:
            return f"; write --{section}.{value}"
        return ""

    def _complete(self, keys: Keys, value: Any, field: Field | None) -> None:
        if isinstance(value, list):
            for at, entry in enumerate(value):
                self._complete(keys if len(value) == 1 else (*keys, at), entry, field)
        if not isinstance(value, dict):
            return
        if field is None:
            for name, entry in value.items():
                self._complete((*keys, name), entry, self._sections[str(keys[0])].get(name))
            return
        hint = field.hint
        kinds = class_kinds(hint) + (class_kinds(entry_hint(hint)) if entry_hint(hint) is not NOTHING else [])
        path = value.get("class_path")
        cls = find_class(path, kinds) if isinstance(path, str) and kinds else None
        if cls is None:
            return
        fields, given = fields_of(cls, left_out(cls, kinds)), value.get("init_args") or {}
        for name, inner in fields.items():
            if inner.default is NOTHING and name not in given:
                what = wanted(inner.hint, NOTHING, NOTHING, noun)
                raise ConfigMistakeError(
                    f"{cls.__name__} needs the field {name!r}, {what}, which is not given",
                    (*keys, "init_args"),
                )
            self._complete((*keys, "init_args", name), given.get(name), inner)


def _unpacked(key: Any, value: Any) -> tuple[str, bool, Any]:
    """Return a key's first name, whether it appends, and the value with the key's other names around it."""
    name, _, rest = str(key).partition(".")
    if rest:
        return name, False, {rest: value}
    return name.removesuffix("+"), name.endswith("+"), value


def _merge(base: dict[Any, Any], more: Mapping[Any, Any]) -> None:
    for key, value in more.items():
        name, _, inner = _unpacked(key, value)
        if isinstance(inner, Mapping):
            kept = base.get(name)
            copied: dict[Any, Any] = kept if isinstance(kept, dict) else {}
            if isinstance(kept, str):
                copied = {"class_path": kept}
            base[name] = copied
            _merge(copied, inner)
        else:
            base[name] = inner


__all__ = ["ConfigCheck"]

"""Find the first mistake in a config that the parser refused, and say it in one sentence.

The parser tries one type after the other and tells of each. Here the values as they were written are compared with
the signatures of the classes that they name, from the outside in, so that a sentence can name the field.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from lightning_croloss.cli.class_fields import (
    NOUNS,
    SLIP,
    USUAL,
    Field,
    classes_of,
    fields_of,
    find_class,
    nearest,
    noun,
    similar_class,
)
from lightning_croloss.cli.config_sources import (
    ConfigMistakeError,
    Keys,
    Source,
    dotted,
    plain_value,
    read_config,
)
from lightning_croloss.cli.field_types import (
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
from lightning_croloss.cli.right_level import Places
from lightning_croloss.pretrained.saving import FROM_DATA

#: What a mapping that describes a class consists of.
PARTS = ("class_path", "init_args", "dict_kwargs")
#: What others call a class path.
_FORMER_PARTS = ("class", "class_name", "cls", "name", "path", "target", "_target_", "type")
MANY = 20  # so many names are too many for one sentence
_FEW = 130  # letters of a list of names in a sentence


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
        self._whole: dict[Any, Any] = {}
        self._option = ""

    def prepare(self, source: Source) -> None:
        """Remember what a source holds, for advice on the sources before it."""
        _merge(self._whole, source.tree)

    def check(self, source: Source) -> None:
        """Compare a source with the signatures, and take over what it sets.

        Raises:
            ConfigMistakeError: the first mistake.
        """
        self._option = source.option
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
            places = Places(self._whole, self._root_fields())
            found = places.set(name, ()) or places.possible(name, (), {})
            advice = f"; did you mean {dotted(found)!r}?" if found else f"; {self._listed(self._top_names())}"
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
                self._unknown(name, (section,), (section,), fields, "")
            set_[name] = self._field((section, name), fields[name], inner, set_.get(name), appends)

    def _field(self, keys: Keys, field: Field, value: Any, previous: Any, appends: bool = False) -> Any:
        """Return the value that a field has after it was set, classes as class_path and init_args."""
        if isinstance(value, str) and not takes_every_text(field.hint):
            value = plain_value(value)
        if value is None:
            if takes_null(field.hint, field.default):
                return None
            self._wrong(keys, field, value)
        hint = field.hint
        if field.hint is NOTHING:
            return value
        kinds, entry = class_kinds(hint), entry_hint(hint)
        inner = class_kinds(entry) if entry is not NOTHING else []
        if appends:
            entries = value if isinstance(value, list) else [value]
            kept = previous if isinstance(previous, list) else []
            if inner:
                return kept + [self._entry(keys, entry, inner, found) for found in entries]
            return kept + entries
        if isinstance(value, list) and inner:
            one = len(value) == 1
            return [
                self._entry(keys if one else (*keys, at), entry, inner, found)
                for at, found in enumerate(value)
            ]
        if isinstance(value, dict) and (kinds or inner):
            return self._mapping(keys, field, kinds or inner, value, previous, not kinds)
        if isinstance(value, str) and (kinds or inner) and not self._is_plain(field, value):
            if Path(value).suffix in (".yaml", ".yml", ".json"):
                return self._field(keys, field, self._file(keys, value), previous)
            return self._described(keys, kinds or inner, value, previous)
        if (kinds or inner) and not self._is_plain(field, value):
            self._wrong(keys, field, value)
        if not kinds and not inner and not self._is_plain(field, value):
            self._wrong(keys, field, value)
        return value

    def _entry(self, keys: Keys, hint: Any, kinds: list[ClassKind], value: Any) -> Any:
        return self._field(keys, Field(str(keys[-1]), hint, NOTHING), value, None)

    def _mapping(
        self, keys: Keys, field: Field, kinds: list[ClassKind], value: Any, previous: Any, in_list: bool
    ) -> Any:
        if "class_path" not in value and takes_mapping(field.hint):
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
                raise ConfigMistakeError(f"class_path must name a class, got {shown(path)}", keys)
            described = self._described(keys, kinds, path, previous)
            self._beside(keys, kinds, value, described)
            given = value.get("init_args", {})
        elif known:
            described = dict(known)
            direct = not value.keys() & {"init_args", "dict_kwargs"}
            given = value if direct else value.get("init_args", {})
        else:
            described = self._implied(keys, kinds, value)
            given = value.get("init_args", value)
        if "init_args" in value and not isinstance(given, dict):
            raise ConfigMistakeError(
                f"must hold fields of {_short(described['class_path'])}, each as 'name: value', got "
                f"{shown(given)}; leave init_args out if there are none",
                (*keys, "init_args"),
            )
        cls = find_class(described["class_path"], kinds)
        if cls is not None:
            inner = dict(described.get("init_args") or {})
            self._arguments(keys, cls, _left_out(cls, kinds), given, inner)
            described["init_args"] = inner
        return described

    def _arguments(
        self, keys: Keys, cls: type, left_out: int, given: Mapping[Any, Any], set_: dict[Any, Any]
    ) -> None:
        fields = fields_of(cls, left_out)
        for key, entry in given.items():
            name, appends, value = _unpacked(key, entry)
            if name not in fields:
                self._unknown(name, keys, (*keys, "init_args"), fields, cls.__name__)
            set_[name] = self._field((*keys, "init_args", name), fields[name], value, set_.get(name), appends)

    def _described(self, keys: Keys, kinds: list[ClassKind], path: str, previous: Any) -> dict[str, Any]:
        """Return the description of a class, with what was set before and what it still takes."""
        cls = self._class(keys, kinds, path)
        if cls is None or not isinstance(previous, dict) or "class_path" not in previous:
            return {"class_path": path}
        fields = fields_of(cls, _left_out(cls, kinds))
        kept = {name: entry for name, entry in (previous.get("init_args") or {}).items() if name in fields}
        return {"class_path": path, "init_args": kept}

    def _class(self, keys: Keys, kinds: list[ClassKind], path: str) -> type | None:
        """Return the class that a config names; None for a function, which may return one."""
        cls = find_class(path, kinds)
        bases = tuple(kind.base for kind in kinds)
        if cls is None:
            return self._unknown_class(keys, kinds, path)
        if not issubclass(cls, bases):
            raise ConfigMistakeError(f"{_short(path)!r} is not {self._nouns(kinds)}", keys)
        if inspect.isabstract(cls):
            known = classes_of([ClassKind(cls)])
            listed = self._listed(known) if len(known) < MANY else ""
            raise ConfigMistakeError(
                f"{path!r} is only the base of others: {listed or 'name one of them'}", keys
            )
        return cls

    def _unknown_class(self, keys: Keys, kinds: list[ClassKind], path: str) -> None:
        module, _, last = path.strip(" '\"").rpartition(".")
        known = classes_of(kinds)
        if path[:1] in "[{" and path[-1:] not in "]}":
            self._unquoted(keys, path)
        if ": " in path or (" " in path.strip() and path.split()[0] in PARTS):
            raise ConfigMistakeError(
                f"must be a class: {path!r} lacks a colon or quotes; write class_path: {next(iter(known), '')}",
                keys,
            )
        name, why = path, ""
        if module:
            if not _is_module(module):
                why = f": there is no module {module!r}"
            elif callable(getattr(__import__(module, fromlist=["_"]), last, None)):
                return
            else:
                name = last
        if (other := find_class(path)) is not None:
            raise ConfigMistakeError(f"{other.__name__!r} is not {self._nouns(kinds)}", keys)
        near = similar_class(path, known)
        if near and nearest(last, [near], SLIP):
            advice = f"; did you mean {near!r}?"
        elif near:
            how = f"--{dotted(keys)}={near}" if self._option else f"class_path: {near}"
            advice = f"; did you mean {near!r}? Write {how}"
        elif known and len(known) < MANY:
            advice = f"; {self._listed(known)}"
        else:
            advice = f"; what is wanted is {self._nouns(kinds)}"
        raise ConfigMistakeError(f"unknown class {name!r}{why}{advice}", keys)

    def _beside(
        self, keys: Keys, kinds: list[ClassKind], value: dict[Any, Any], described: dict[str, Any]
    ) -> None:
        """Refuse fields that stand beside class_path."""
        beside = [key for key in value if key not in PARTS]
        if not beside:
            return
        key, name = str(beside[0]), _short(described["class_path"])
        cls = find_class(described["class_path"], kinds)
        fields = fields_of(cls, _left_out(cls, kinds)) if cls else {}
        if not any(name in fields for name in beside):
            if near := nearest(key, PARTS, SLIP):
                raise ConfigMistakeError(
                    f"there is no field {key!r}; did you mean {near!r}?", keys, (*keys, key)
                )
            self._unknown(key, keys, (*keys, "init_args"), fields, name)
        listed = ", ".join(repr(str(found)) for found in beside[:4]) + (" …" if len(beside) > 4 else "")
        stands = "stands" if len(beside) == 1 else "stand"
        raise ConfigMistakeError(
            f"{listed} {stands} beside class_path, but the fields of {name} belong under init_args: "
            f"{{class_path: {name}, init_args: {{{key}: {shown(value[beside[0]])[:30]}}}}}",
            keys,
        )

    def _implied(self, keys: Keys, kinds: list[ClassKind], value: dict[Any, Any]) -> dict[str, Any]:
        """Return the class of fields that name none: a concrete base; refuse them otherwise."""
        known = classes_of(kinds)
        for key in value:
            if str(key) in known and len(value) == 1:
                inner = ", init_args: {…}" if value[key] else ""
                raise ConfigMistakeError(
                    f"a class is named by class_path: write {{class_path: {key}{inner}}}", keys
                )
            if str(key) in _FORMER_PARTS or nearest(str(key), ("class_path",), SLIP):
                raise ConfigMistakeError(f"there is no field {str(key)!r}; did you mean 'class_path'?", keys)
        for kind in kinds:
            if not inspect.isabstract(kind.base) and kind.base.__name__ not in NOUNS:
                return {"class_path": f"{kind.base.__module__}.{kind.base.__qualname__}"}
        given = value.get("init_args", value)
        names = [str(name) for name in given] if isinstance(given, dict) else []
        suited = [name for name, cls in known.items() if names and set(names) <= fields_of(cls).keys()]
        usual = [NOUNS[kind.base.__name__][1] for kind in kinds if kind.base.__name__ in NOUNS]
        likely = suited or [*usual, *known]
        first = next((name for name in usual if name in likely), next(iter(likely), ""))
        how = f"--{dotted(keys)}={first}" if self._option else f"class_path: {first}"
        what = f"which class has the field {names[0]!r}" if names else "which class"
        raise ConfigMistakeError(f"{what}? Name it first, as in {how}", keys)

    def _unknown(
        self, name: str, owner: Keys, inside: Keys, fields: Mapping[str, Field], cls: str
    ) -> NoReturn:
        """Refuse a field that a class or section does not have, and say where it belongs."""
        if name in FROM_DATA:
            raise ConfigMistakeError(f"{name!r} comes from the data: leave it out", (*owner, name))
        own = nearest(name, fields, SLIP)
        same = own is not None and own.lower().replace("-", "_") == name.lower().replace("-", "_")
        places = Places(self._whole, self._root_fields())
        sibling = self._sibling(name, owner)
        there = None if same else places.set(name, inside)
        if there and there[0] == inside[0]:
            advice = f"; it belongs at {dotted(there)}"
        elif own:
            advice = f"; did you mean {own!r}?"
        elif sibling:
            advice = f" in {cls}, but {sibling} has one"
        elif found := there or places.possible(name, inside, fields):
            advice = f"; it belongs at {dotted(found)}"
        elif near := nearest(name, [*fields, *PARTS[:2]]):
            advice = f"; did you mean {near!r}?"
        elif found := places.possible(name, inside, fields, like=True):
            advice = f"; did you mean {dotted(found)}?"
        else:
            advice = f"; {self._listed(fields, cls)}"
        raise ConfigMistakeError(f"there is no field {name!r}{advice}", owner, (*inside, name))

    def _sibling(self, name: str, owner: Keys) -> str | None:
        """Return a class that could stand here and has the field, the usual ones first."""
        known = classes_of(self._kinds_at(owner))
        having = [found for found, cls in known.items() if name in fields_of(cls)]
        return min(having, key=lambda found: (found not in USUAL, having.index(found)), default=None)

    def _kinds_at(self, owner: Keys) -> list[ClassKind]:
        """Return the classes that the field of some keys takes."""
        fields, kinds, value = self._root_fields(), [], self._whole
        names: list[str] = []
        for key in owner:
            if isinstance(key, str) and key != "init_args":
                names.append(key)
            if isinstance(key, int):
                value = value[key] if isinstance(value, list) and key < len(value) else None
            else:
                value = value.get(key) if isinstance(value, dict) else None
            name = ".".join(names)
            if name in fields:
                hint, names = fields[name].hint, []
                kinds = class_kinds(hint) or class_kinds(entry_hint(hint))
                if isinstance(value, list) and len(value) == 1:
                    value = value[0]
                path = value.get("class_path") if isinstance(value, dict) else value
                cls = find_class(path, kinds) if isinstance(path, str) else None
                fields = fields_of(cls) if cls else fields
        return kinds if not names else []

    def _wrong(self, keys: Keys, field: Field, value: Any) -> NoReturn:
        hint, default = field.hint, field.default
        if isinstance(value, str) and value[:1] in ("[", "{") and value[-1:] not in ("]", "}"):
            self._unquoted(keys, value)
        what = wanted(hint, default, value, noun)
        got = (
            f"; got {str(value)!r}"
            if what.startswith("one of") and value is not None
            else f", got {shown(value)}"
        )
        if value is None and default is not NOTHING and not isinstance(default, type):
            got += (
                f": leave it out for the default, {shown(default)}" if _is_told(default) else ": leave it out"
            )
        near = ""
        if what.startswith("one of") and isinstance(value, str):
            choices = [choice for choice in what.removeprefix("one of ").replace(" or ", ", ").split(", ")]
            if (found := nearest(value, choices)) is not None:
                near = f"; did you mean {found!r}?"
        raise ConfigMistakeError(f"must be {what}{got}{near}", keys)

    def _unquoted(self, keys: Keys, value: str) -> NoReturn:
        closing = "]" if value[0] == "[" else "}"
        raise ConfigMistakeError(
            f"the value {value!r} has no closing {closing!r}: put the option in quotes if the value holds spaces, "
            f"'--{dotted(keys)}={value}{closing}'",
            keys,
        )

    def _file(self, keys: Keys, value: str) -> Any:
        if not Path(value).is_file():
            raise ConfigMistakeError(f"there is no file {value!r}", keys)
        return read_config(value).tree

    def _how(self, section: str, value: Any) -> str:
        if self._option and isinstance(value, str) and "=" in value:
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
        fields, given = fields_of(cls, _left_out(cls, kinds)), value.get("init_args") or {}
        for name, inner in fields.items():
            if inner.default is NOTHING and name not in given:
                what = wanted(inner.hint, NOTHING, NOTHING, noun)
                raise ConfigMistakeError(
                    f"{cls.__name__} needs the field {name!r}, {what}, which is not given",
                    (*keys, "init_args"),
                )
            self._complete((*keys, "init_args", name), given.get(name), inner)

    def _root_fields(self) -> dict[str, Field]:
        sections = {
            f"{section}.{name}": field
            for section, fields in self._sections.items()
            for name, field in fields.items()
        }
        return {**self._options, **sections}

    def _top_names(self) -> list[str]:
        return [*self._sections, *self._options]

    def _nouns(self, kinds: list[ClassKind]) -> str:
        return " or ".join(word for word in dict.fromkeys(noun(kind.base) for kind in kinds) if word)

    def _listed(self, names: Any, of: str = "") -> str:
        """Return names for the end of a sentence, as many as fit."""
        known = sorted(map(str, names))
        if not known:
            return f"{of or 'it'} has none" if of else "there is none"
        text = known[0]
        for name in known[1:]:
            if len(text) + len(name) > _FEW:
                text += ", …"
                break
            text += f", {name}"
        return f"{of} has {text}" if of else f"known: {text}"


def _unpacked(key: Any, value: Any) -> tuple[str, bool, Any]:
    """Return the first name of a key, whether it appends, and the value with the key's other names around it."""
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


def _left_out(cls: type, kinds: list[ClassKind]) -> int:
    return next((kind.left_out for kind in kinds if issubclass(cls, kind.base)), 0)


def _short(path: str) -> str:
    return path.rpartition(".")[2]


def _is_told(default: Any) -> bool:
    return isinstance(default, (bool, int, float, str, list, tuple))


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


__all__ = ["ConfigCheck"]

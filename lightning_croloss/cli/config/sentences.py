"""The sentences about mistakes in a config: what stands there, what is wanted, and where it belongs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NoReturn

from lightning_croloss.cli.config.class_fields import (
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
from lightning_croloss.cli.config.field_types import (
    NOTHING,
    ClassKind,
    class_kinds,
    entry_hint,
    shown,
    wanted,
)
from lightning_croloss.cli.config.right_level import Places
from lightning_croloss.cli.config.sources import ConfigMistakeError, Keys, dotted
from lightning_croloss.pretrained.saving import FROM_DATA

#: What a mapping that describes a class consists of.
PARTS = ("class_path", "init_args", "dict_kwargs")
#: What others call a class path.
_FORMER_PARTS = ("class", "class_name", "cls", "name", "path", "target", "_target_", "type")
MANY = 20  # so many names are too many for one sentence
_FEW = 130  # letters of a list of names in a sentence


class Sentences:
    """The sentences about the config of one command.

    Args:
        root: the command's own fields, by dotted names.

    Attributes:
        whole: the whole config as it was written.
        option: the option that sets the field in question, empty for a file.
        bare: whether that option has no value.
    """

    def __init__(self, root: Mapping[str, Field]) -> None:
        self._root = root
        self.whole: dict[Any, Any] = {}
        self.option, self.bare = "", False

    def unknown_field(
        self, name: str, owner: Keys, inside: Keys, fields: Mapping[str, Field], cls: str
    ) -> NoReturn:
        """Refuse a field that a class or section does not have, and say where it belongs."""
        if name in FROM_DATA and owner == ("model",):
            raise ConfigMistakeError(f"{name!r} comes from the data: leave it out", (*owner, name))
        if name.startswith("+") and (plain := name.lstrip("+")) in fields:
            advice = f"; write {plain}+ with the sign behind it to append to a list"
            raise ConfigMistakeError(f"there is no field {name!r}{advice}", owner, (*inside, name))
        own = nearest(name, fields, SLIP)
        same = own is not None and own.lower().replace("-", "_") == name.lower().replace("-", "_")
        places = Places(self.whole, self._root)
        sibling = self._sibling(name, owner)
        there = None if same else places.set(name, inside)
        # another class of its kind is meant rather than the object around it, as with the importance's alpha
        around = there is not None and there[:-1] == inside[: len(there) - 1]
        if there and there[0] == inside[0] and not (sibling and around):
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
            advice = f"; {listed(fields, cls)}"
        raise ConfigMistakeError(f"there is no field {name!r}{advice}", owner, (*inside, name))

    def unknown_class(self, keys: Keys, kinds: list[ClassKind], path: str) -> None:
        """Refuse a class that does not exist, unless it is the path of a function."""
        module, _, last = path.strip(" '\"").rpartition(".")
        known = classes_of(kinds)
        if path[:1] in "[{" and path[-1:] not in "]}":
            self._unquoted(keys, path)
        if ": " in path or (" " in path.strip() and path.split()[0] in PARTS):
            raise ConfigMistakeError(
                f"must name a class, got {path!r}: write class_path: {next(iter(known), '')}",
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
            raise ConfigMistakeError(f"{other.__name__!r} is not {nouns(kinds)}", keys)
        near = similar_class(path, known)
        if near and nearest(last, [near], SLIP):
            advice = f"; did you mean {near!r}?"
        elif near:
            how = f"--{dotted(keys)}={near}" if self.option else f"class_path: {near}"
            advice = f"; did you mean {near!r}? Write {how}"
        elif known and len(known) < MANY:
            advice = f"; {listed(known)}"
        else:
            advice = f"; what is wanted is {nouns(kinds)}"
        raise ConfigMistakeError(f"unknown class {name!r}{why}{advice}", keys)

    def refuse_beside(
        self, keys: Keys, kinds: list[ClassKind], value: dict[Any, Any], described: dict[str, Any]
    ) -> None:
        """Refuse fields that stand beside class_path."""
        beside = [key for key in value if key not in PARTS]
        if not beside:
            return
        key, name = str(beside[0]), short_name(described["class_path"])
        cls = find_class(described["class_path"], kinds)
        fields = fields_of(cls, left_out(cls, kinds)) if cls else {}
        if not any(name in fields for name in beside):
            if near := nearest(key, PARTS, SLIP):
                raise ConfigMistakeError(
                    f"there is no field {key!r}; did you mean {near!r}?", keys, (*keys, key)
                )
            self.unknown_field(key, keys, (*keys, "init_args"), fields, name)
        listed = ", ".join(repr(str(found)) for found in beside[:4]) + (" …" if len(beside) > 4 else "")
        stands = "stands" if len(beside) == 1 else "stand"
        raise ConfigMistakeError(
            f"{listed} {stands} beside class_path, but the fields of {name} belong under init_args: "
            f"{{class_path: {name}, init_args: {{{key}: {shown(value[beside[0]])[:30]}}}}}",
            keys,
        )

    def implied(self, keys: Keys, kinds: list[ClassKind], value: dict[Any, Any]) -> dict[str, Any]:
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
        how = f"--{dotted(keys)}={first}" if self.option else f"class_path: {first}"
        what = f"which class has the field {names[0]!r}" if names else "which class"
        raise ConfigMistakeError(f"{what}? Name it first, as in {how}", keys)

    def wrong_value(self, keys: Keys, field: Field, value: Any) -> NoReturn:
        """Refuse a value that a field does not take."""
        hint, default = field.hint, field.default
        if isinstance(value, str) and value[:1] in ("[", "{") and value[-1:] not in ("]", "}"):
            self._unquoted(keys, value)
        what = wanted(hint, default, value, noun)
        if value is None and self.bare:
            raise ConfigMistakeError(f"{self.option} needs a value: {what}")
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
            choices = what.removeprefix("one of ").replace(" or ", ", ").split(", ")
            if (found := nearest(value, choices)) is not None:
                near = f"; did you mean {found!r}?"
        raise ConfigMistakeError(f"must be {what}{got}{near}", keys)

    def _unquoted(self, keys: Keys, value: str) -> NoReturn:
        closing = "]" if value[0] == "[" else "}"
        raise ConfigMistakeError(
            f"the value {value!r} has no closing {closing!r}: put an option whose value holds spaces in "
            f"quotes, '{self.option or f'--{dotted(keys)}'}={value} …{closing}'",
            keys,
        )

    def _sibling(self, name: str, owner: Keys) -> str | None:
        """Return a class that could stand here and has the field, the usual ones first."""
        known = classes_of(self._kinds_at(owner))
        having = [found for found, cls in known.items() if name in fields_of(cls)]
        return min(having, key=lambda found: (found not in USUAL, having.index(found)), default=None)

    def _kinds_at(self, owner: Keys) -> list[ClassKind]:
        """Return the classes that the field of some keys takes."""
        fields: Mapping[str, Field] = self._root
        value: Any = self.whole
        kinds: list[ClassKind] = []
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


def nouns(kinds: list[ClassKind]) -> str:
    """Say what classes of some kinds are: ``a loss such as CROLoss``."""
    return " or ".join(word for word in dict.fromkeys(noun(kind.base) for kind in kinds) if word)


def listed(names: Any, of: str = "") -> str:
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


def left_out(cls: type, kinds: list[ClassKind]) -> int:
    """Return how many of a class's first arguments the program gives."""
    return next((kind.left_out for kind in kinds if issubclass(cls, kind.base)), 0)


def short_name(path: str) -> str:
    """Return the name of a class without its module."""
    return path.rpartition(".")[2]


def _is_told(default: Any) -> bool:
    return isinstance(default, (bool, int, float, str, list, tuple))


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


__all__ = ["MANY", "PARTS", "Sentences", "left_out", "listed", "nouns", "short_name"]

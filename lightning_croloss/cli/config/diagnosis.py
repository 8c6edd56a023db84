"""What a command's parser refused, found again in the files and options that it was given."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from lightning_croloss.cli.config.check import ConfigCheck
from lightning_croloss.cli.config.class_fields import Field, fields_of, find_class, noun
from lightning_croloss.cli.config.field_types import NOTHING, members, shown, takes_null, wanted
from lightning_croloss.cli.config.sources import ConfigMistakeError, Keys, Source, read_sources

#: Packages whose type hints are exact; in a user's own class null is whatever its author made of it.
_JUDGED = ("lightning_croloss", "lightning", "pytorch_lightning", "torch")


def find_mistake(parser: ArgumentParser, words: Sequence[str], only: str = "") -> str | None:
    """Return the first mistake in the config of a command line in one sentence, None if none is found.

    Args:
        parser: the parser of the whole command line.
        words: the words after the program's name.
        only: the one section of config files that is read; every one if empty.
    """
    command, options, flags = _options(parser, words)
    check = ConfigCheck(options, only)
    try:
        sources = list(_prepared(check, words, flags, command))
        for source in sources:
            check.check(source)
        check.check_complete()
    except ConfigMistakeError as mistake:
        return " ".join(str(mistake).split())
    return None


def refuse_overlooked(parsed: Namespace, parser: ArgumentParser, words: Sequence[str]) -> None:
    """Refuse what the parser does not: ``null`` where a field takes none, and a section without fields.

    Args:
        parsed: what the parser made of the command line.
        parser: the parser of the whole command line.
        words: the words after the program's name.

    Raises:
        ConfigMistakeError: a field is null, or a section is a list.
    """
    command, options, flags = _options(parser, words)
    sections = {name.partition(".")[0] for name in options if "." in name}
    for source in _read(words, flags) if sections else ():
        for name in sections & source.tree.keys():
            if isinstance(value := source.tree[name], (list, bool, int, float)):
                where = source.where((name,))
                raise ConfigMistakeError(f"must consist of fields, got {shown(value)}{where}", (name,))
    section = parsed.get(command) if command else parsed
    for keys, field in _nulls(section, options):
        told = isinstance(field.default, (bool, int, float, str, list, tuple))
        advice = f": leave it out for the default, {shown(field.default)}" if told else ""
        found = [source.where(keys) for source in _read(words, flags) if _is_null(source.tree, keys)]
        where = found[-1] if found else ""
        what = wanted(field.hint, field.default, NOTHING, noun)
        raise ConfigMistakeError(f"must be {what}, got null{advice}{where}", keys)


def _read(words: Sequence[str], flags: set[str]) -> list[Source]:
    """Return what can be read of a command line that the parser took."""
    sources = []
    try:
        for source in read_sources(words, flags):
            sources.append(source)
    except ConfigMistakeError:
        return sources
    return sources


def _prepared(check: ConfigCheck, words: Sequence[str], flags: set[str], command: str) -> Iterator[Source]:
    waiting = list(words)
    for source in read_sources(waiting, flags):
        inner = source.tree.get(command)
        if command and isinstance(inner, dict) and not source.option:
            source.tree = {**{key: value for key, value in source.tree.items() if key != command}, **inner}
        check.prepare(source)
        yield source


def _options(parser: ArgumentParser, words: Sequence[str]) -> tuple[str, dict[str, Field], set[str]]:
    """Return the command's name, its fields, and its options without a value."""
    commands = getattr(parser, "_subcommands_action", None)
    command = ""
    actions = list(parser._actions)
    if commands is not None:
        command = next((word for word in words if word in commands.choices), "")
        if command:
            actions += list(commands.choices[command]._actions)
    fields: dict[str, Field] = {}
    flags: set[str] = set()
    for action in actions:
        if action.nargs == 0 or action.dest in ("print_config", "help") or action.dest.endswith(".help"):
            flags.update(action.option_strings)
            continue
        hint = getattr(action, "_typehint", None) or (action.type if isinstance(action.type, type) else None)
        if action.dest not in ("config", "subcommand") and hint is not None:
            default = action.default
            if isinstance(default, Namespace):
                default = default.as_dict()
            if action.dest in ("data", "model"):  # needed, though the parser has them optional
                hint = members(hint)[0]
            fields[action.dest] = Field(action.dest, hint, default)
    return command, fields, flags


def _nulls(section: Any, options: dict[str, Field]) -> Iterator[tuple[Keys, Field]]:
    for name, field in options.items():
        value = section.get(name) if isinstance(section, Namespace) else None
        keys = tuple(name.split("."))
        if value is None and name in _given(section) and not _may_be_null(field, own=False):
            yield keys, field
        yield from _nulls_in(value, keys)


def _given(section: Any) -> set[str]:
    return set(section.keys()) if isinstance(section, Namespace) else set()


def _nulls_in(value: Any, keys: Keys) -> Iterator[tuple[Keys, Field]]:
    if isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _nulls_in(entry, keys if len(value) == 1 else (*keys, at))
        return
    if not isinstance(value, Namespace) or "class_path" not in value:
        return
    given = vars(value.get("init_args") or Namespace())
    if any(entry is None for entry in given.values()):
        cls = find_class(value["class_path"])
        package = cls.__module__.partition(".")[0] if inspect.isclass(cls) else ""
        fields = fields_of(cls) if cls is not None and package in _JUDGED else {}
        for name, entry in given.items():
            own = package == "lightning_croloss"
            if entry is None and name in fields and not _may_be_null(fields[name], own):
                yield (*keys, "init_args", name), fields[name]
    for name, entry in given.items():
        yield from _nulls_in(entry, (*keys, "init_args", name))


def _may_be_null(field: Field, own: bool) -> bool:
    """Tell whether null is allowed, or does no harm: others take it for false."""
    return takes_null(field.hint, field.default) or (not own and bool in members(field.hint))


def _is_null(tree: Any, keys: Keys) -> bool:
    """Tell whether a config sets a field to null; ``init_args`` may be left out."""
    for key in keys:
        if isinstance(tree, list) and isinstance(key, int):
            tree = tree[key] if key < len(tree) else ""
        elif isinstance(tree, dict) and key in tree:
            tree = tree[key]
        elif isinstance(tree, list) and len(tree) == 1 and isinstance(tree[0], dict):
            tree = tree[0].get(key, "")
        elif key != "init_args":
            return False
    return tree is None


__all__ = ["find_mistake", "refuse_overlooked"]

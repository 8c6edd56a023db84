"""Lists that a later config or option replaces: what is lost is told, and how to add instead.

Fields are merged one by one, but a list is one value: the ``callbacks`` of a second config file take the
place of the first one's, unless the key is ``callbacks+``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from lightning.pytorch import Callback

from croloss_serving.common.home_folder import expanded

COMMAND_LINE = "the command line"
MANY = 6  # so many names are enough for one line
LISTS = ("trainer.callbacks",)  # of which one entry alone is a list, too


@dataclass(frozen=True)
class _Value:
    """What one source, a config file or the command line, says of a field.

    Attributes:
        field: its path, without ``init_args``: ``trainer.callbacks``.
        content: its value.
        source: where it is written.
        adds: whether it adds to what is there.
    """

    field: str
    content: Any
    source: str
    adds: bool


def replaced_lists(words: Sequence[str], command: str | None = None) -> Iterator[str]:
    """Yield one line for each list that a later config or option replaces.

    A list of numbers, such as ``hidden_dims``, is meant as a whole: of that nothing is said, nor of a list
    whose entries all come again.

    Args:
        words: the command line, which names the config files.
        command: the command, whose section is used of a config that stands before it.

    Raises:
        ValueError: a config has a list with and without the plus.
    """
    lists: dict[
        str, list[tuple[Any, str]]
    ] = {}  # of each field the entries so far, and where each is written
    for value in _values(words, command):
        entries = value.content if isinstance(value.content, list) else [value.content]
        earlier = lists.get(value.field)
        if earlier is not None and not value.adds:
            lost = [(entry, source) for entry, source in earlier if entry not in entries]
            if lost:
                yield _line(value, lost)
        if not value.adds:
            lists.pop(value.field, None)
        is_list = value.adds or value.field in LISTS or isinstance(value.content, list)
        if is_list and any(map(_is_named, entries)):
            lists.setdefault(value.field, []).extend((entry, value.source) for entry in entries)


def refuse_twice(callbacks: Sequence[Callback]) -> None:
    """Refuse two callbacks whose states a checkpoint could not tell apart, such as one that is added again.

    Raises:
        ValueError: naming the callback.
    """
    seen = set()
    for callback in callbacks:
        if type(callback).state_dict is Callback.state_dict:
            continue
        if callback.state_key in seen:
            raise ValueError(
                f"trainer.callbacks holds {type(callback).__name__} twice with settings that a checkpoint "
                f"cannot tell apart ({callback.state_key}): leave one out"
            )
        seen.add(callback.state_key)


def _line(value: _Value, lost: list[tuple[Any, str]]) -> str:
    names = [_name(entry) for entry, _ in lost]
    shown = ", ".join(names[:MANY]) + (", …" if len(names) > MANY else "")
    sources = " and ".join(dict.fromkeys(source for _, source in lost))
    last = value.field.rpartition(".")[2]
    adding = f"--{value.field}+=…" if value.source == COMMAND_LINE else f"'{last}+:'"
    return f"{value.field} of {value.source} replaces {shown} of {sources}: write {adding} to add to them"


def _values(words: Sequence[str], command: str | None) -> Iterator[_Value]:
    after_command = command is None
    for number, word in enumerate(words):
        if word == command:
            after_command = True
        name, mark, given = word.partition("=")
        if not name.startswith("-"):
            continue
        if not mark:
            given = words[number + 1] if number + 1 < len(words) else ""
        if name in ("--config", "-c"):
            content, source = _read(given)
            if not after_command and isinstance(content, dict):
                content = content.get(command)
            yield from _fields(content, source, "", set())
        elif name.startswith("--"):
            field = _without_init_args(name.removeprefix("--"))
            yield _Value(field.removesuffix("+"), _parsed(given), COMMAND_LINE, field.endswith("+"))


def _read(given: str) -> tuple[Any, str]:
    """Return the content of a config file, or of a config that is given as text, and its name."""
    path = expanded(given)
    try:
        if path.is_file():
            return yaml.safe_load(path.read_text(encoding="utf-8")), path.name
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None, path.name
    return _parsed(given), "--config"


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _fields(content: Any, source: str, path: str, seen: set[int]) -> Iterator[_Value]:
    """Yield every field of a config that holds no fields itself; entries of lists are not looked into."""
    if not isinstance(content, dict) or id(content) in seen:  # what aliases repeat is looked at once
        return
    seen.add(id(content))
    for name, value in content.items():
        field = f"{path}.{name}" if path else str(name)
        if field.endswith("+") and str(name).removesuffix("+") in content:
            raise ValueError(
                f"{source}: {field.removesuffix('+')} stands there with and without the plus: write one"
            )
        if isinstance(value, dict) and not field.endswith("+"):
            if "class_path" in value:  # in the place of a list
                yield _Value(_without_init_args(field), value, source, False)
            yield from _fields(value, source, field, seen)
        else:
            yield _Value(_without_init_args(field).removesuffix("+"), value, source, field.endswith("+"))


def _without_init_args(field: str) -> str:
    return ".".join(part for part in field.split(".") if part != "init_args")


def _is_named(entry: Any) -> bool:
    return isinstance(entry, (str, dict))


def _name(entry: Any) -> str:
    """Return what an entry is called: a class by its name."""
    if isinstance(entry, dict):
        return str(entry.get("class_path", entry)).rpartition(".")[2]
    return str(entry)

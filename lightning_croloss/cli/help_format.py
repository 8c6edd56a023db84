"""How the full help is written: types and classes in words, and no markup."""

from __future__ import annotations

import inspect
import re
import types
from argparse import Action
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from lightning_croloss.pretrained.saving import FROM_DATA

_WORDS = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Path: "a path",
    Any: "anything",
}
_OF_MANY = {
    "an integer": "integers",
    "a number": "numbers",
    "text": "texts",
    "a path": "paths",
    "a mapping": "mappings",
}


class PlainHelp(DefaultHelpFormatter):
    """Writes what a field takes in a user's words.

    Args:
        prog: the command.
    """

    def add_usage(
        self, usage: str | None, actions: Iterable[Action], groups: Iterable[Any], prefix: str | None = None
    ) -> None:
        """Name the command; the help of a class, which is no command, has no usage."""
        options = list(actions)
        if usage is not None or prefix == "":  # argparse asks what stands before the commands
            super().add_usage(usage, options, groups, prefix)
        elif any(action.dest == "config" for action in options):
            commands = any(action.dest == "subcommand" for action in options)
            words = "COMMAND [options]" if commands else "--config FILE [--name=value ...]"
            super().add_usage(f"{self._prog.replace(' [options]', '')} {words}", options, groups, prefix)

    def add_text(self, text: str | None) -> None:
        """Add a description."""
        super().add_text(None if text is None else without_markup(text))

    def start_section(self, heading: str | None) -> None:
        """Begin a group of options."""
        super().start_section(None if heading is None else without_markup(heading))

    def _get_help_string(self, action: Action) -> str:
        typehint = getattr(action, "_typehint", None)
        ready = getattr(action, "_jsonargparse_preexpanded_help", False)
        if typehint is None or ready or not action.option_strings or action.dest.endswith(".help"):
            return without_markup(super()._get_help_string(action))
        text = without_markup(action.help or "")
        if action.dest.rpartition(".")[2] in FROM_DATA and "from the data" in text:
            return text
        notes = ["required" if action.required else "", _with_classes(typehint, action, text)]
        if not action.required and "Default: " not in text:
            notes.append(f"default: {_default(action.default)}")
        return f"{text} ({'; '.join(note for note in notes if note)})".strip()


def arrange(parser: ArgumentParser) -> None:
    """Order the groups of a trainer command's options: what a user sets before Lightning's many."""
    groups = [group for group in parser._action_groups if group.title != "Linked arguments"]
    for group in groups:
        if any(action.dest == "ckpt_path" for action in group._group_actions):
            group.title = "Weights"  # Lightning's title is the first line of a docstring, cut as it may be
    parser._action_groups = sorted(groups, key=_of_trainer)


def _of_trainer(group: Any) -> bool:
    return any(action.dest.startswith("trainer.") for action in group._group_actions)


def without_markup(text: str) -> str:
    """Return a text of a docstring without roles and backticks, with null for None."""
    text = re.sub(
        r":\w+:`(~?)([^`]*)`", lambda found: found[2].rpartition(".")[2] if found[1] else found[2], text
    )
    return re.sub(r"\bNone\b", "null", text.replace("``", ""))


def in_words(typehint: Any) -> str:
    """Return what a type takes, "" if that is a class, whose names are listed, or cannot be said."""
    words = dict.fromkeys(filter(None, _alternatives(typehint)))
    if "a number" in words:
        words.pop("an integer", None)
    ordered = sorted(words, key="null".__eq__)
    return " or ".join(filter(None, (", ".join(ordered[:-1]), *ordered[-1:])))


def _alternatives(typehint: Any) -> Iterator[str]:
    origin, arguments = get_origin(typehint), get_args(typehint)
    if typehint in _WORDS:
        yield _WORDS[typehint]
    elif origin is Literal:
        yield from map(str, arguments)
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _alternatives(argument)
    elif inspect.isclass(origin) and issubclass(origin, Mapping):
        yield "a mapping"
    elif inspect.isclass(origin) and issubclass(origin, Iterable) and arguments:
        yield f"a list of {_OF_MANY.get(in_words(arguments[0]), 'these')}"


def _with_classes(typehint: Any, action: Any, text: str) -> str:
    """Return what a field takes, with the classes that are known for it and not in its text."""
    bases = set(re.findall(r"\w+", str(typehint)))
    paths = action.extra_help().partition(": ")[2]
    names = dict.fromkeys(path.rpartition(".")[2] for path in paths.split(", ") if path)
    known = ", ".join(name for name in names if name not in bases and name not in text)
    return " or ".join(filter(None, (f"one of {known}" if known else "", in_words(typehint))))


def _default(value: Any) -> str:
    if isinstance(value, (Mapping, Namespace)) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[2]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_default, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, str) and not value.strip() else str(value)


__all__ = ["PlainHelp", "arrange", "in_words", "without_markup"]

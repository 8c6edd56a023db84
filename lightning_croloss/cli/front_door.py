"""What ``croloss`` answers before anything heavy is imported: help, versions, unknown commands."""

from __future__ import annotations

import platform
from contextlib import suppress
from textwrap import fill
from typing import NoReturn

from lightning_croloss import __version__
from lightning_croloss.cli.commands import COMMANDS, OTHER_COMMANDS, SUBCOMMANDS, TRAINER_COMMANDS
from lightning_croloss.cli.data.help import DESCRIPTION, EPILOG, USAGE
from lightning_croloss.cli.plain_parser import nearest, usage_error
from lightning_croloss.cli.trainer_help import trainer_help

HELP = ("--help", "-h")
VERSION = ("--version", "-V", "version")
#: With it, the help of a trainer's command is Lightning's, which lists every option.
ALL_HELP = ("--help=all", "--help-all", "--help_all")
#: Options that may stand before the trainer's commands.
BEFORE = ("--config", "-c", "--print_config")
#: What others call our commands.
_SYNONYMS = {
    "train": "fit",
    "eval": "test",
    "evaluate": "test",
    "infer": "predict",
    "inspect": "data inspect",
    "partition": "data partition",
}


def left_to_run(words: list[str]) -> list[str] | None:
    """Answer what needs neither torch nor Lightning.

    Args:
        words: the words after ``croloss``.

    Returns:
        The words of a command that is left to run, or None if all is said.

    Raises:
        SystemExit: with status 2, if they begin neither with a command nor with an option before one.
    """
    if words[:1] == ["help"]:
        words = [*words[1:], HELP[0]]
    first, rest = (words[0], words[1:]) if words else (HELP[0], [])
    if first in (*HELP, *ALL_HELP):
        print(overview())
    elif first in VERSION:
        print(versions())
    elif first in TRAINER_COMMANDS and any(word in HELP for word in rest):
        print(trainer_help(first))
    elif first in TRAINER_COMMANDS:
        return [first, *(HELP[0] if word in ALL_HELP else word for word in rest)]
    elif first == "data" and rest[:1] and rest[0] in HELP:
        print(f"usage: {USAGE}\n\n{fill(DESCRIPTION)}\n\n{fill(EPILOG)}")
    elif first in OTHER_COMMANDS:
        _check_second_word(first, rest)
        return words
    elif first.partition("=")[0] in BEFORE:
        return words
    else:
        _unknown(first)
    return None


def overview() -> str:
    """Return the help of ``croloss`` itself: its commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: croloss COMMAND [options]",
            "",
            "Train, evaluate and serve retrieval models on the Recall@N to be deployed.",
            "",
            "commands:",
            *lines,
            "",
            "'croloss COMMAND --help' explains the options of a command; 'croloss --version' prints the",
            "versions to name in a report.",
        ]
    )


def versions() -> str:
    """Return the versions that a report of a problem should name, one per line."""
    from importlib.metadata import PackageNotFoundError, version  # a third of the time that all else takes

    lines = {
        "lightning-croloss": __version__,
        "Python": platform.python_version(),
        "torch": version("torch"),
        "lightning": version("lightning"),
    }
    with suppress(PackageNotFoundError):  # it is run from its source
        lines["lightning-croloss-serving"] = version("lightning-croloss-serving")
    return "\n".join(f"{name} {number}" for name, number in lines.items())


def _check_second_word(command: str, rest: list[str]) -> None:
    """Refuse a second word that the command does not know; what begins with a dash is left to its parser."""
    known = SUBCOMMANDS.get(command)
    if known is None or (rest and (rest[0] in known or rest[0].startswith("-"))):
        return
    wanted = f"one of the words {', '.join(known)}"
    if not rest:
        usage_error(f"croloss {command} takes {wanted}; croloss {command} --help explains it")
    usage_error(
        f"there is no command {f'{command} {rest[0]}'!r}{nearest(rest[0], known) or '.'} "
        f"croloss {command} takes {wanted}, not {rest[0]!r}"
    )


def _unknown(word: str) -> NoReturn:
    """Refuse a word that is no command."""
    if word.startswith("-"):
        option = f"--{word.lstrip('-')}"
        usage_error(f"options stand after a command, as in croloss fit {option}; the commands: {_listed()}")
    if word.endswith((".yaml", ".yml")):
        advice = f"; did you mean {f'fit --config {word}'!r}?"
    elif meant := _SYNONYMS.get(word.casefold()):
        advice = f"; did you mean {meant!r}?"
    else:
        advice = nearest(word, COMMANDS) or "."
    usage_error(f"there is no command {word!r}{advice} The commands: {_listed()}")


def _listed() -> str:
    return ", ".join(COMMANDS)


__all__ = ["left_to_run"]

"""The parsers of the commands beside the trainer's: argparse, whose mistakes end in one sentence.

Imports neither torch nor Lightning, so that help and slips of the keyboard are answered at once.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from croloss_serving.common.terminal import printable
from lightning_croloss.errors import suggest

#: Set this environment variable to see where an error came from.
TRACEBACK = "CROLOSS_TRACEBACK"
ALLOW_CLASSES = "Class of others that the files of a model may name, as package.module.Class; it is imported."
_TYPES = {"int": "an integer", "float": "a number"}


class PlainParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that names the option, what it got and what it takes.

    An option is written in full, as those of the trainer are: ``--hist 50`` is none that begins so.
    """

    _words: Sequence[str] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words, and keep them for errors."""
        self._words = sys.argv[1:] if args is None else args
        if (name := single_dashed(self._words, self._option_string_actions)) is not None:
            self.error(f"unrecognized arguments: {name}")
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        # unlike its base, lets a help that cannot be written be an error
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Say in one sentence what is wrong with the words of the command, and exit with status 2."""
        options = self._option_string_actions
        if "required" in message:  # a slip for the option that is missing explains more
            for word in self._words:
                name = word.partition("=")[0]
                if name.startswith("--") and name not in options:
                    message = f"unrecognized arguments: {name}"
        usage_error(_sentence(message, options, self.prog))


def usage_error(sentence: str) -> NoReturn:
    """Say what is wrong with the words of a command, and exit with status 2."""
    print(f"croloss: error: {printable(sentence)}", file=sys.stderr)
    sys.exit(2)


def output_path(text: str) -> Path:
    """Return the path of an output; the type of an option of ``argparse``.

    Raises:
        ArgumentTypeError: it is empty, which would be the current folder.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must name what to write, got {text!r}")
    return Path(text)


def single_dashed(words: Iterable[str], options: Container[str]) -> str | None:
    """Return the first word that is an option but for its second dash; None if there is none.

    ``-config`` would otherwise be read as ``-c onfig``.

    Args:
        words: the words of a command.
        options: the options that it knows.
    """
    for word in words:
        name = word.partition("=")[0]
        if name == "--":  # what comes after is no option
            return None
        if name.startswith("-") and name not in options and f"-{name}" in options:
            return name
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` if a known name is like this one, whatever its case, else nothing."""
    advice = suggest(name.casefold(), known)
    return advice if "did you mean" in advice else ""


def add_allow_classes(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow_classes``, which may be given several times."""
    parser.add_argument(
        "--allow_classes",
        "--allow-classes",
        action="append",
        metavar="CLASS",
        help=ALLOW_CLASSES[0].lower() + ALLOW_CLASSES[1:].removesuffix("."),
    )


def _sentence(message: str, options: Iterable[str], command: str) -> str:
    """Return argparse's message in the words of a user."""
    if found := re.fullmatch(r"unrecognized arguments: ((\S+).*)", message, re.DOTALL):
        name = found[2].partition("=")[0]
        advice = nearest(name, options) if name.startswith("-") else ""
        return f"unrecognized arguments: {found[1]}{advice or f'; {command} --help lists the options'}"
    if found := re.fullmatch(r"the following arguments are required: (.*)", message):
        return f"{command} needs {found[1].replace(', ', ' and ')}: {command} --help explains it"
    if found := re.fullmatch(r"one of the arguments (.*) is required", message):
        return f"{command} needs {' or '.join(found[1].split())}: {command} --help explains them"
    if found := re.fullmatch(r"argument ([^:]*): (.*)", message, re.DOTALL):
        return f"{found[1].partition('/')[0]}: {_about_value(found[2])}"
    return message


def _about_value(message: str) -> str:
    if found := re.fullmatch(r"invalid (\w+) value: (.*)", message, re.DOTALL):
        return f"must be {_TYPES.get(found[1], found[1])}, got {found[2]}"
    if found := re.fullmatch(r"invalid choice: (.*) \(choose from (.*)\)", message, re.DOTALL):
        choices = [choice.strip().strip("'") for choice in found[2].split(", ")]
        advice = nearest(found[1].strip("'"), choices)
        return f"must be one of {', '.join(choices)}; got {found[1]}{advice}"
    if message.startswith("expected "):
        return f"a value is missing ({message})"
    return message


__all__ = [
    "ALLOW_CLASSES",
    "TRACEBACK",
    "PlainParser",
    "add_allow_classes",
    "nearest",
    "output_path",
    "single_dashed",
    "usage_error",
]

"""The commands besides those of Lightning's trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lightning_croloss.cli import data, export, recommend, zoo

#: The first word of a command and what runs it with the words after it.
COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "data": data.main,
    "export": export.main,
    "recommend": recommend.main,
    "zoo": zoo.main,
}


def find_command(arguments: Sequence[str]) -> Callable[[list[str]], None] | None:
    """Return what runs the command that ``arguments`` begin with, or None if it is the trainer's."""
    return COMMANDS.get(arguments[0]) if arguments else None


__all__ = ["COMMANDS", "find_command"]

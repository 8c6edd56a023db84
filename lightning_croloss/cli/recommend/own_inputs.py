"""Outputs of ``croloss recommend`` that are among its inputs."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from croloss_serving.common.home_folder import expanded
from lightning_croloss.errors import DataError

INPUTS = ("histories", "allow", "deny", "users")


def refuse_own_input(given: argparse.Namespace) -> None:
    """Refuse an output in whose place something lies that the command reads.

    Args:
        given: the options of the command; the output is a file.

    Raises:
        ValueError: it is a file of one of the options, by whatever path.
    """
    if not given.output.exists():
        return
    for name in INPUTS:
        value = getattr(given, name)
        if value is not None and any(path.samefile(given.output) for path in _files(name, value)):
            raise ValueError(
                f"--output {given.output} is a file of --{name}, which would be lost: choose another output"
            )


def _files(name: str, value: str) -> list[Path]:
    path = expanded(value)
    if path.is_file():
        return [path]
    from lightning_croloss.data.table.finding import find_paths

    with suppress(DataError):  # it is told where the files are read
        return [each for each in find_paths(f"--{name}", value, ".inter") if each.exists()]
    return []


__all__ = ["refuse_own_input"]

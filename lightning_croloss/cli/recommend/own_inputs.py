"""Outputs of ``croloss recommend`` that are among its inputs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from croloss_serving.common.home_folder import expanded
from lightning_croloss.common.own_inputs import refuse_own_inputs
from lightning_croloss.errors import DataError

INPUTS = ("histories", "allow", "deny", "users")


def refuse_inputs_of_lists(given: argparse.Namespace, outputs: Iterable[Path]) -> None:
    """Refuse outputs in whose place something lies that the command reads.

    Args:
        given: the options of the command.
        outputs: the files that it writes.

    Raises:
        ValueError: one is a file of one of the options, by whatever path.
    """
    refuse_own_inputs(outputs, _inputs(given), "--output")


def _inputs(given: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    for name in INPUTS:
        if (value := getattr(given, name)) is not None:
            for path in _files(name, value):
                yield f"--{name}", path
    from lightning_croloss.cli.model_files import files_of_model

    for path in files_of_model(given.model):
        yield "--model", path


def _files(name: str, value: str) -> list[Path]:
    path = expanded(value)
    if path.is_file():
        return [path]
    from lightning_croloss.data.table.finding import find_paths

    with suppress(DataError):  # it is told where the files are read
        return find_paths(f"--{name}", value, ".inter")
    return []


__all__ = ["refuse_inputs_of_lists"]

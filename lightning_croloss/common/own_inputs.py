"""Outputs that are among what a job reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path


def refuse_own_inputs(outputs: Iterable[Path], inputs: Iterable[tuple[str, Path]], option: str) -> None:
    """Refuse outputs in whose place something lies that the job reads.

    What is read and nowhere to be found is passed over: whoever reads it tells that.

    Args:
        outputs: the files to write. If none of them is there yet, the inputs are not looked at.
        inputs: what names a file or a folder that is read, such as "--histories", and its path.
        option: the option that names the outputs.

    Raises:
        ValueError: one is such a file, or a file of such a folder, by whatever path.
    """
    there: dict[tuple[int, int], Path] = {}
    for output in outputs:
        with suppress(OSError, ValueError):  # nothing is there, or nothing can be
            there[_identity(output.stat())] = output
    if not there:
        return
    for named, path in inputs:
        for found in _states(path):
            if (lost := there.get(_identity(found))) is not None:
                raise ValueError(
                    f"{option} {lost} is a file of {named}, which would be lost: choose another output"
                )


def _identity(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino


def _states(path: Path) -> Iterator[os.stat_result]:
    """Yield what the system says of a file, or of the files of a folder."""
    for each in path.rglob("*") if os.path.isdir(path) else (path,):
        try:
            if each.is_file():
                yield each.stat()
        except (OSError, ValueError):  # it is gone, or is no path at all
            continue


__all__ = ["refuse_own_inputs"]

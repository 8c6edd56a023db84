"""What is measured: commands that answer without training, several times over, each in its own process."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

COMMANDS = (
    "--help",
    "--version",
    "zoo list",
    "fitt",
    "fit --help",
    "data --help",
    "recommend --help",
    "export --help",
    "fit --help=all",
    "fit --print_config",
)


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        command: the words after ``croloss``.
        status: the exit status.
        wall: seconds of each run.
        process: seconds of the processor in each run, which other processes beside it do not lengthen.
    """

    command: str
    status: int
    wall: list[float]
    process: list[float]


def measure(command: str, repeats: int) -> Measured:
    """Run ``python -m lightning_croloss`` with the words of a command ``repeats`` times, at least once."""
    words = [sys.executable, "-m", "lightning_croloss", *command.split()]
    wall, process, status = [], [], 0
    for _ in range(repeats):
        start, before = time.perf_counter(), _children()
        status = subprocess.run(words, capture_output=True, check=False).returncode
        wall.append(time.perf_counter() - start)
        process.append(_children() - before)
    return Measured(command, status, wall, process)


def measure_all(commands: Sequence[str], repeats: int) -> list[Measured]:
    """Measure several commands; one run before them fills the caches of the file system."""
    measure("--version", 1)
    return [measure(command, repeats) for command in commands]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

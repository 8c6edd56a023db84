"""How things are measured: alternating rounds in one process for time, a process of its own for memory."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    threads: tuple[int, ...]
    repeats: int
    quick: bool
    clock: str = "wall"


def machine() -> dict[str, Any]:
    """Return versions and the kind of machine, without names."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    return {
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "processor": model,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


#: "cpu" counts the processor's seconds of this process, which a busy machine hardly changes; with several
#: threads it also counts their waiting, and only "wall" makes sense.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def alternate(
    sides: dict[str, Callable[[], object]], repeats: int, clock: str = "wall"
) -> dict[str, list[float]]:
    """Return the seconds of each side in each round; in a round every side runs once.

    What a shared machine does to one side it does to its neighbours in the round, so ratios taken within
    rounds are steadier than the times.
    """
    now = CLOCKS[clock]
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            start = now()
            side()
            seconds[name].append(now() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], above: str, below: str) -> float:
    """Return the median over rounds of one side's time by another's."""
    return statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))


def peak_memory(work: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """Return by how many MiB a process grows while ``work(*arguments)``'s result is called (Linux only).

    Args:
        work: a function at the top of a module that makes the inputs and returns what to measure.
        arguments: its arguments, of plain types.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_grown, (work, arguments))


def _grown(work: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> float:
    torch.set_num_threads(1)
    call = work(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _kilobytes("VmRSS")
    call()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def duration(seconds: float) -> str:
    """Write a time with three figures."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def size(mib: float) -> str:
    """Write a size in MiB."""
    return f"{mib:,.0f} MiB"

"""How things are measured: alternating rounds in one process for time, a process of its own for memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def missing(peers: Sequence[str]) -> str | None:
    """Return what to tell if one of the packages is not installed, else None."""
    absent = [name for name in peers if not versions([name])]
    if not absent:
        return None
    return f"{absent[0]} is not installed (pip install -c constraints.txt '.[peers]')"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Work in a folder that is deleted afterwards, with what is printed and logged thrown away.

    Peers leave files and progress bars wherever they run.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield Path(folder)
        finally:
            os.chdir(before)


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
    sides: dict[str, Callable[[], object]], repeats: int, clock: str = "wall", warm_up: bool = True
) -> dict[str, list[float]]:
    """Return the seconds of each side in each round; in a round every side runs once.

    What a shared machine does to one side it does to its neighbours in the round, so ratios taken within
    rounds are steadier than the times.

    Args:
        sides: what to run, by name.
        repeats: number of rounds.
        clock: a name of :data:`CLOCKS`.
        warm_up: whether another round, which does not count, comes first.
    """
    now = CLOCKS[clock]
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats + warm_up):
        for name, side in sides.items():
            start = now()
            side()
            if number >= warm_up:
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
    return alone(work, *arguments)["MiB"]


def alone(work: Callable[..., Callable[[], object]], *arguments: Any) -> dict[str, Any]:
    """Call the result of ``work(*arguments)`` once in a process of its own, on one thread (Linux only).

    Args:
        work: a function at the top of a module that makes the inputs and returns what to measure.
        arguments: its arguments, of plain types.

    Returns:
        "s": its seconds; "MiB": by how much the process grew; "in all MiB": the most that it held; "result":
        the dictionary that it returned, if it did.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_alone, (work, arguments))


def _alone(work: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    torch.set_num_threads(1)
    call = work(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _kilobytes("VmRSS")
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    peak = _kilobytes("VmHWM")
    result = result if isinstance(result, dict) else None
    return {"s": seconds, "MiB": (peak - before) / 1024, "in all MiB": peak / 1024, "result": result}


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def duration(seconds: float) -> str:
    """Write a time with three figures."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def size(mib: float) -> str:
    """Write a size in MiB."""
    return f"{mib:,.0f} MiB"

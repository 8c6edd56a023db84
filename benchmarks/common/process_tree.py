"""The processes below a process, and what they use (Linux only)."""

from __future__ import annotations

import os
from pathlib import Path


def children_of(process: int) -> list[int]:
    """Return all processes that a process has started, and those that they have."""
    found: list[int] = []
    waiting = [process]
    while waiting:
        for tasks in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                own = [int(number) for number in tasks.read_text().split()]
            except OSError:  # it has ended
                continue
            found += own
            waiting += own
    return found


def memory_mib(process: int) -> float:
    """Return the memory of a process, of what it shares with others its part; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def processor_seconds(process: int) -> float:
    """Return the seconds that a process has computed; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""Time and memory of a call on a device: CUDA's own clock and counters, or the processor's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import torch

#: Seconds that repetitions of one call may take; on the CPU the script is only tried out.
BUDGET = {"cuda": 0.2, "cpu": 0.02}
#: How many repetitions there are at least and at most.
FEWEST, MOST = 3, 50
MIB = 2**20


def synchronize(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(call: Callable[[], object], device: str) -> float:
    """Return the seconds of one call, on the device's clock."""
    synchronize(device)
    if device != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1000


def typical_seconds(call: Callable[[], object], device: str) -> float:
    """Return the median seconds of a call, after two that do not count."""
    call()
    estimate = seconds_of(call, device)
    repeats = max(FEWEST, min(MOST, int(BUDGET[device] / max(estimate, 1e-9))))
    return statistics.median(seconds_of(call, device) for _ in range(repeats))


def mib_beyond(call: Callable[[], Sequence[torch.Tensor]], device: str) -> float | None:
    """Return the MiB that a call takes at most, beyond what was there and what it returns; None on a CPU."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    returned = call()
    torch.cuda.synchronize()
    kept = sum(value.numel() * value.element_size() for value in returned)
    return (torch.cuda.max_memory_allocated() - before - kept) / MIB


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total

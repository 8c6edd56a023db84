"""Which process reads which partitions."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_croloss.errors import DataError


def assigned(events: Sequence[int], world_size: int, folder: str) -> list[list[int]]:
    """Return the partitions of each process, ascending: each has about as many events.

    From the largest on, a partition goes to the process with the fewest events so far, of equal ones to the
    first.

    Args:
        events: number of events of each partition.
        world_size: number of processes.
        folder: what errors call the folder.

    Raises:
        DataError: there are fewer partitions with events than processes.
    """
    filled = sum(count > 0 for count in events)
    if filled < world_size:
        raise DataError(
            f"{folder} has {filled} partitions with events, fewer than the {world_size} processes: use fewer "
            "devices, or divide the table into more partitions"
        )
    found: list[list[int]] = [[] for _ in range(world_size)]
    sums = [0] * world_size
    for number in sorted(range(len(events)), key=lambda number: (-events[number], number)):
        rank = min(range(world_size), key=lambda rank: (sums[rank], rank))
        found[rank].append(number)
        sums[rank] += events[number]
    return [sorted(numbers) for numbers in found]

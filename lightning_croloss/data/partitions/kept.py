"""Which items and users the filters leave that count the events of a user or an item, over all partitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.data.partitions.reader import PartitionEvents, PartitionReader
from lightning_croloss.data.partitions.tally import Tally
from lightning_croloss.data.report import COUNTING
from lightning_croloss.data.table.filters import Events
from lightning_croloss.data.table.preparation import counting_reason
from lightning_croloss.data.table.spec import TableSpec


@dataclass(frozen=True)
class Kept:
    """What is left.

    Attributes:
        items: (N,) bool, of the items of the folder.
        users: (U,) bool, of its users.
        dates: whether the times are dates.
        longest: the most events of a user.
    """

    items: NDArray[np.bool_]
    users: NDArray[np.bool_]
    dates: bool
    longest: int

    def of(self, part: PartitionEvents) -> PartitionEvents:
        """Return a partition with the events that are left."""
        return part.left(self.items, self.users)


def find_kept(
    reader: PartitionReader,
    place_of_users: NDArray[np.int32],
    tally: Tally,
    scratch: Path,
    begin: Callable[[int], None] = lambda number: None,
) -> Kept:
    """Count the events of items and users, one partition at a time.

    Args:
        reader: the folder.
        place_of_users: the partition of each user.
        tally: is told of each step.
        scratch: a folder for what would be read several times.
        begin: is told of each partition that is read.
    """
    spec, size = reader.spec, len(reader.items)
    pairs: list[tuple[int, Path]] = []
    counts = np.zeros(size, dtype=np.int64)
    dates = False
    for number in range(len(reader.manifest.partitions)):
        begin(number)
        part = reader.read(number, tally, place_of_users)
        if part is None:
            continue
        dates = part.dates
        counts += np.bincount(part.events.items, minlength=size)
        pairs.append((number, scratch / f"pairs-{number:05}.npy"))
        np.save(pairs[-1][1], np.stack([part.events.users, part.events.items]).astype(np.int32))
    items, before = counts >= max(1, spec.min_item_interactions), -1
    while True:
        counts, users, longest = _counted(pairs, items, spec, place_of_users)
        total = int(counts.sum())
        if not spec.k_core or total == before:
            break
        items, before = items & (counts >= spec.min_item_interactions), total
    kept = Kept(counts > 0, users, dates, longest)
    if (reason := counting_reason(spec)) is not None:
        for number, path in pairs:
            numbers = np.flatnonzero(place_of_users == number)
            who, what = np.load(path, mmap_mode="r")
            tally.events(COUNTING, reason, Events(*_left(who, what, kept.items, users[numbers])))
    return kept


def _counted(
    pairs: list[tuple[int, Path]],
    items: NDArray[np.bool_],
    spec: TableSpec,
    place_of_users: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Return the events of each item, the users, and the most events of one, with only some items."""
    counts = np.zeros(len(items), dtype=np.int64)
    users = np.zeros(len(place_of_users), dtype=np.bool_)
    longest = 0
    for number, path in pairs:
        numbers = np.flatnonzero(place_of_users == number)
        who, what = np.load(path, mmap_mode="r")
        lengths = np.bincount(who[items[what]], minlength=len(numbers))
        enough = lengths >= max(1, spec.min_user_interactions)
        counts += np.bincount(_left(who, what, items, enough)[1], minlength=len(items))
        users[numbers[enough]] = True
        longest = max(longest, int(lengths.max(initial=0)))
    return counts, users, longest


def _left(
    who: NDArray[np.int32], what: NDArray[np.int32], items: NDArray[np.bool_], users: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    chosen = items[what] & users[who]
    return who[chosen], what[chosen]

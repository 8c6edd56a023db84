"""What is measured: read a table, filter, map ids, split, build the first batch, several times over."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

from lightning_croloss import TableDataModule


@dataclass(frozen=True)
class Measured:
    """What preparing a table took."""

    interactions: int
    users: int
    items: int
    seconds: list[float]
    #: The most MiB that the process has held, and what of it was there before: Python and libraries.
    peak: float
    before: float


def megabytes() -> float:
    """Return the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepare(file: str, min_user_interactions: int, k_core: bool, repeats: int) -> Measured:
    """Prepare the table ``repeats`` times, at least once."""
    import polars  # noqa: F401  # its import is not part of what is measured

    before = megabytes()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        data = TableDataModule(
            file,
            min_user_interactions=min_user_interactions,
            min_item_interactions=min_user_interactions if k_core else 1,
            k_core=k_core,
        )
        next(iter(data.train_dataloader()))
        seconds.append(time.perf_counter() - start)
    return Measured(len(data.interactions), data.num_users, data.num_items, seconds, megabytes(), before)

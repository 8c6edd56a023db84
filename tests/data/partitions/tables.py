"""A table with something to learn, and its partitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lightning_croloss.data import TableDataModule
from lightning_croloss.data.partitions.dividing import Division, divide

USERS, ITEMS = 120, 40


def write_table(folder: Path, partitions: int = 5) -> tuple[str, str]:
    """Write a table of users in clusters of items, and its partitions; return where they are."""
    import polars as pl  # not above: tests of these are skipped without it

    random = np.random.default_rng(0)
    users, items = [], []
    for user in range(USERS):
        count = int(random.integers(3, 12))
        cluster = np.arange(ITEMS).reshape(4, -1)[user % 4]
        users += [f"user {user}"] * count
        items += random.choice(cluster, count, replace=False).tolist() if count <= len(cluster) else []
        items += random.choice(cluster, len(users) - len(items)).tolist()
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": random.permutation(len(users))})
    whole, divided = folder / "events.parquet", folder / "divided"
    frame.sample(fraction=1, shuffle=True, seed=1).write_parquet(whole)
    divide(Division(str(whole), partitions), divided)
    return str(whole), str(divided)


def partitioned(folder: str, **arguments: object) -> TableDataModule:
    """Return a data module of partitions."""
    options = {"batch_size": 16, "eval_batch_size": 16, "max_history": 5, **arguments}
    return TableDataModule(folder, partitioned_by_user=True, **options)  # type: ignore[arg-type]


def plain(file: str, **arguments: object) -> TableDataModule:
    """Return a data module of the whole table."""
    options = {"batch_size": 16, "eval_batch_size": 16, "max_history": 5, **arguments}
    return TableDataModule(file, **options)  # type: ignore[arg-type]

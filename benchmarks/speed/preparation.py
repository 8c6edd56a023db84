"""Preparing a million interactions: read, filter, map ids, split, build the first training batch.

``diginetica.parquet`` out of the folder of ``--data``: 982,961 interactions, of which users and items with
at least five are kept, over and over; leave-one-out in the order of time; histories of 50. RecBole reads an
atomic file, written from the table beforehand; ours reads the table, and in another row RecBole's file.
Each side runs in a process of its own, on one thread; importing the libraries is not counted. Memory is
what the process grows by.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common.measuring import alone, duration, missing, scratch, size
from benchmarks.common.tables import table
from benchmarks.speed.settings import Settings

PEERS = ("recbole", "polars")
Row = dict[str, Any]
FILE = "diginetica.parquet"
FEWEST, LENGTH, BATCH = 5, 50, 256
GOALS = {"time": 10.0, "memory": 3.0}


def ours(file: str) -> Callable[[], object]:
    """Return the preparation by TableDataModule."""
    import polars  # noqa: F401  # its import is not measured

    from benchmarks.common.training import start_run
    from lightning_croloss import TableDataModule

    start_run(0)

    def run() -> object:
        data = TableDataModule(
            file,
            min_user_interactions=FEWEST,
            min_item_interactions=FEWEST,
            k_core=True,
            max_history=LENGTH,
            batch_size=BATCH,
        )
        batch = next(iter(data.train_dataloader()))
        return {
            "users": data.num_users,
            "items": data.num_items,
            "rows": len(data.train_rows),
            "B": len(batch.users),
        }

    return run


def recbole(folder: str) -> Callable[[], object]:
    """Return the preparation by RecBole."""
    from benchmarks.speed import recbole_side

    def run() -> object:
        with scratch():
            config = recbole_side.configure(
                "mean pool",
                "data",
                Path(folder),
                user_inter_num_interval=f"[{FEWEST},inf)",
                item_inter_num_interval=f"[{FEWEST},inf)",
                MAX_ITEM_LIST_LENGTH=LENGTH,
                train_batch_size=BATCH,
                embedding_size=32,
            )
            train_data = recbole_side.prepared(config)[0]
            batch = next(iter(train_data))
        data = train_data._dataset
        return {"users": data.user_num - 1, "items": data.item_num - 1, "rows": len(data), "B": len(batch)}

    return run


def atomic_file(table_file: Path, folder: Path) -> Path:
    """Write a table as RecBole's ``data/data.inter`` and return the file."""
    import polars as pl

    path = folder / "data" / "data.inter"
    path.parent.mkdir()
    names = {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    pl.read_parquet(table_file).select(list(names)).rename(names).write_csv(path, separator="\t")
    return path


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    title = f"# Preparing {FILE}: read, filter ({FEWEST}-core), map ids, split, first batch"
    message = missing(PEERS) or settings.missing_file(FILE)
    if message is not None or settings.data is None:
        return [], f"{title}\n\nLeft out: {message}."
    rounds = 1 if settings.quick else min(settings.repeats, 3)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as place:
        file = (settings.data / FILE).resolve()
        atomic = atomic_file(file, Path(place))
        for _ in range(rounds):
            for name, work, argument in (
                ("ours, Parquet", ours, file),
                ("ours, atomic file", ours, atomic),
                ("RecBole, atomic file", recbole, place),
            ):
                found.setdefault(name, []).append(alone(work, str(argument)))
    results = {str(entry["result"]) for entries in found.values() for entry in entries}
    if len(results) > 1:
        raise RuntimeError(f"the sides prepare different data: {results}")
    theirs = {
        key: statistics.median(entry[key] for entry in found["RecBole, atomic file"]) for key in ("s", "MiB")
    }
    rows: list[Row] = []
    for name, entries in found.items():
        row = {key: statistics.median(entry[key] for entry in entries) for key in ("s", "MiB", "in all MiB")}
        ratios = {"time ratio": theirs["s"] / row["s"], "memory ratio": theirs["MiB"] / row["MiB"]}
        rows.append({"side": name, "rounds": rounds, **row, **ratios, "prepared": entries[0]["result"]})
    cells = [
        [
            row["side"],
            duration(row["s"]),
            size(row["MiB"]),
            size(row["in all MiB"]),
            f"{row['time ratio']:.1f}",
            f"{row['memory ratio']:.1f}",
        ]
        for row in rows
    ]
    head = ["side", "time", "memory", "whole process", "RecBole's time by this", "RecBole's memory by this"]
    prepared = ", ".join(f"{value:,} {key}" for key, value in rows[0]["prepared"].items() if key != "B")
    goals = f"Goals: time ≥ {GOALS['time']:g}, memory ≥ {GOALS['memory']:g}. Prepared alike: {prepared}."
    return rows, f"{title}\n\n{table(head, cells)}\n\n{goals}"

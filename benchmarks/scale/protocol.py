"""One training run on a synthetic table of 1,000,000 items and 5,000,000 interactions.

A user likes a few of many groups of items; inside a group popularity falls as 1/rank. The table is written as
Parquet, read by TableDataModule, and a YouTubeDNN is trained for a number of steps on CROLoss with sampled
negatives, then 2,000 users are ranked against the whole catalogue. All in one process, so that the peak of
the memory is that of a user's.
"""

from __future__ import annotations

import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import polars
import torch
from numpy.typing import NDArray

from benchmarks.common.training import quiet_trainer, start_run
from lightning_croloss import CROLoss, LeaveOneOut, TableDataModule, UniformNegatives, YouTubeDNN

GROUP = 250  # items of a group
LENGTH = 10  # events of a user
DIM, BATCH, NEGATIVES = 64, 1024, 2560
EVALUATED = 2000


def draw_events(items: int, interactions: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return users and items of events; each user stays in three groups."""
    random = np.random.default_rng(seed)
    users = interactions // LENGTH
    groups = max(1, items // GROUP)
    liked = random.integers(0, groups, (users, 3))
    group = np.take_along_axis(liked, random.integers(0, 3, (users, LENGTH)), 1)
    weights = 1.0 / np.arange(1, GROUP + 1)
    place = np.searchsorted(np.cumsum(weights / weights.sum()), random.random((users, LENGTH)))
    item = group * GROUP + place.clip(max=GROUP - 1)
    return np.repeat(np.arange(users), LENGTH), item.reshape(-1).clip(max=items - 1)


class SpeedMeter(pl.Callback):
    """Times the training steps after the first ones, which allocate."""

    def __init__(self, skip: int) -> None:
        self.skip = skip
        self.begin = 0.0
        self.seconds = 0.0
        self.steps = 0

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Begin when the first steps are over."""
        if trainer.global_step == self.skip:
            self.begin = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Note the time so far."""
        if trainer.global_step > self.skip:
            self.seconds = time.perf_counter() - self.begin
            self.steps = trainer.global_step - self.skip


def peak_gib() -> float:
    """Return the largest resident memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def run(items: int, interactions: int, steps: int, threads: int) -> dict[str, Any]:
    """Generate, prepare, train, evaluate; return what was measured."""
    start_run(0)
    torch.set_num_threads(threads)
    row: dict[str, Any] = {"asked_items": items, "interactions": interactions, "threads": threads}
    row["imports_gib"] = peak_gib()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        users, drawn = draw_events(items, interactions)
        every = max(1, len(drawn) // items)  # each item stands in the table, the last ones of a group too
        places = np.arange(0, len(drawn), every)[:items]
        drawn[places] = np.arange(len(places))
        polars.DataFrame({"user_id": users, "item_id": drawn}).write_parquet(path)
        del users, drawn
        begin = time.perf_counter()
        data = TableDataModule(
            str(path),
            time_column=None,
            split=LeaveOneOut(),
            max_history=20,
            batch_size=BATCH,
            eval_batch_size=250,
        )
        batch = next(iter(data.train_dataloader()))
        row["prepare_seconds"] = time.perf_counter() - begin
    row |= {"items": data.num_items, "users": data.num_users, "prepared_gib": peak_gib()}
    assert batch.batch_size == BATCH or items < BATCH * LENGTH
    model = YouTubeDNN(
        num_items=data.num_items,
        embedding_dim=DIM,
        hidden_dims=(),
        loss=CROLoss(temperature=0.1),
        negatives=UniformNegatives(NEGATIVES),
        ns=(20, 100, 500),
        optimizer=partial(torch.optim.Adam, lr=0.01),
    )
    meter = SpeedMeter(skip=min(20, steps // 2))
    options = {"enable_checkpointing": False, "num_sanity_val_steps": 0, "limit_val_batches": 0}
    trainer = quiet_trainer(100, [meter], max_steps=steps, **options)
    trainer.fit(model, data)
    row |= {
        "sparse": type(trainer.optimizers[0]).__name__ == "LazyAdam",
        "step_ms": 1000 * meter.seconds / max(1, meter.steps),
        "samples_per_second": BATCH * meter.steps / max(meter.seconds, 1e-9),
        "trained_gib": peak_gib(),
    }
    begin = time.perf_counter()
    limit = {"limit_test_batches": -(-EVALUATED // 250)}
    (measured,) = quiet_trainer(1, [], enable_checkpointing=False, **limit).test(model, data, verbose=False)
    row |= {"evaluation_seconds": time.perf_counter() - begin, "peak_gib": peak_gib()}
    return row | {name.removeprefix("test/"): value for name, value in measured.items() if "recall" in name}

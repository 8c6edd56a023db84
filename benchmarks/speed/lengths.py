"""What padding costs: an epoch and an evaluation with histories of 50, of which half have few events.

``beauty.parquet`` out of the folder of ``--data``: 22,363 users, of whom half have six events or fewer.
SASRec with one block, D = 64, trained on all positions with 256 sampled negatives, batches of 128 windows;
with the whole catalogue the loss takes most of an epoch, and its time does not depend on padding. The sides:
batches padded to ``max_history``; trimmed to their longest history; read in groups of similar length, as they
are; and batches of rows of similar length besides (``group_by_length``). In evaluation, of 1,024 users a
batch: the users of a batch encoded together, and in groups, as they are.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common.measuring import alternate, duration, missing, ratio
from benchmarks.common.tables import table
from benchmarks.common.training import quiet_trainer, start_run
from benchmarks.speed.settings import Settings
from lightning_croloss import (
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
    TableDataModule,
    UniformNegatives,
)
from lightning_croloss.data import BatchLoader, RetrievalBatch, SequenceDataset
from lightning_croloss.recommend import user_vectors

PEERS = ("polars",)
Row = dict[str, Any]
FILE = "beauty.parquet"
DIM, LENGTH, BATCH, NEGATIVES = 64, 50, 128, 256
#: A share that no groups spare: rows are read together.
NEVER = 2.0


class Padded(SequenceDataset):
    """Rows of training whose histories are all ``max_history`` wide."""

    def __getitems__(self, indices: Sequence[int] | Tensor) -> RetrievalBatch:
        """Return the rows as one batch."""
        batch = super().__getitems__(indices)
        width = (self.max_history - batch.history.shape[1], 0)
        assert isinstance(batch.targets, Tensor)
        batch.history, batch.targets = (functional.pad(ids, width) for ids in (batch.history, batch.targets))
        return batch


class PaddedData(TableDataModule):
    """Training batches as wide as ``max_history``."""

    def train_dataloader(self) -> BatchLoader:
        """Return the loader of training rows."""
        loader = super().train_dataloader()
        loader.dataset = Padded(self.interactions, self.train_rows, self.max_history, all_positions=True)
        return loader


def model_of(data: TableDataModule) -> RetrievalModel:
    """Build the model."""
    return SASRec(
        data.num_items,
        embedding_dim=DIM,
        num_blocks=1,
        num_heads=1,
        train_on="all",
        loss=SoftmaxLoss(),
        negatives=UniformNegatives(NEGATIVES),
        ns=(20,),
    )


def epoch(data: TableDataModule, least_saved: float, steps: int | None) -> Callable[[], None]:
    """Return an epoch of training, in which groups of similar length must save so much."""
    data.item_counts  # noqa: B018  # reads the data

    def run() -> None:
        with mock.patch.object(user_vectors, "LEAST_SAVED", least_saved):
            trainer = quiet_trainer(
                1,
                [],
                enable_checkpointing=False,
                limit_train_batches=steps,
                limit_val_batches=0,
                num_sanity_val_steps=0,
            )
            trainer.fit(model_of(data), data)

    return run


def evaluation(data: TableDataModule, least_saved: float, steps: int | None) -> Callable[[], None]:
    """Return a validation, in which groups of similar length must save so much."""
    model = model_of(data)

    def run() -> None:
        with mock.patch.object(user_vectors, "LEAST_SAVED", least_saved):
            trainer = quiet_trainer(1, [], enable_checkpointing=False, limit_val_batches=steps)
            trainer.validate(model, data, verbose=False)

    return run


def sides(file: str, work: str, steps: int | None) -> dict[str, Callable[[], None]]:
    """Return what is compared in ``work``: "epoch" or "evaluation"."""
    options: dict[str, Any] = {"batch_size": BATCH, "max_history": LENGTH, "seed": 0}
    plain, kept = TableDataModule(file, **options), user_vectors.LEAST_SAVED
    if work == "evaluation":
        return {"together": evaluation(plain, NEVER, steps), "in groups": evaluation(plain, kept, steps)}
    return {
        "padded": epoch(PaddedData(file, **options), NEVER, steps),
        "trimmed": epoch(plain, NEVER, steps),
        "in groups": epoch(plain, kept, steps),
        "group_by_length": epoch(TableDataModule(file, group_by_length=True, **options), kept, steps),
    }


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    title = f"# Padding: SASRec on {FILE}, histories of {LENGTH}, batches of {BATCH}"
    message = missing(PEERS) or settings.missing_file(FILE)
    if message is not None or settings.data is None:
        return [], f"{title}\n\nLeft out: {message}."
    rounds, steps = (1, 2) if settings.quick else (min(settings.repeats, 3), None)
    rows: list[Row] = []
    for threads in settings.threads:
        for work in ("epoch", "evaluation"):
            start_run(0)
            torch.set_num_threads(threads)
            file = str(settings.data / FILE)
            for side in sides(file, work, 1).values():
                side()  # what the first call alone does
            found = alternate(sides(file, work, steps), rounds, settings.clock, warm_up=False)
            first = next(iter(found))
            rows += [
                {
                    "work": work,
                    "side": side,
                    "threads": threads,
                    "rounds": rounds,
                    "s": statistics.median(seconds),
                    "first by this": ratio(found, first, side),
                }
                for side, seconds in found.items()
            ]
    torch.set_num_threads(1)
    cells = [
        [
            row["work"],
            row["side"],
            str(row["threads"]),
            duration(row["s"]),
            f"{row['first by this']:.2f}",
        ]
        for row in rows
    ]
    return rows, f"{title}\n\n{table(['work', 'batches', 'threads', 'time', 'first by this'], cells)}"

"""The whole job on ml-100k: prepare, train five epochs with an evaluation after each, test the best epoch.

The same mean pool, cross-entropy over the whole catalogue, leave-one-out, D = 32, histories of 20, batches
of 256; Recall, HitRate, NDCG and MRR at 20, 50, 100, 200 and 500 by ranks over all items, and a checkpoint
of the best epoch. RecBole goes through the steps of its ``run_recbole`` except for what it prints and for
its estimate of the operations, which would need one more pass. Ours reads the same atomic file by
``TableDataModule``, or has RecBole read it by ``RecBoleDataModule``. Importing the libraries is not
counted. RecBole tests its last weights: its way to load the best does not work with PyTorch from 2.6 on.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from benchmarks.common.measuring import alternate, duration, missing, ratio, scratch
from benchmarks.common.tables import table
from benchmarks.common.training import quiet_trainer, start_run
from benchmarks.speed.settings import Settings
from benchmarks.speed.training import BATCH, DIM, LENGTH, our_model
from lightning_croloss import RecBoleDataModule, TableDataModule

PEERS = ("recbole",)
Row = dict[str, Any]
NS = (20, 50, 100, 200, 500)
EPOCHS = 5
GOAL = 3.0


def our_job(source: str, folder: Path, epochs: int) -> float:
    """Do the job and return Recall@50 on the test part."""
    start_run(0)
    options: dict[str, Any] = {"batch_size": BATCH, "max_history": LENGTH, "seed": 0}
    if source == "RecBoleDataModule":
        data: Any = RecBoleDataModule("ml-100k", **options)
    else:
        import recbole

        file = Path(recbole.__file__).parent / "dataset_example/ml-100k/ml-100k.inter"
        data = TableDataModule(str(file), min_user_interactions=1, **options)
    best = ModelCheckpoint(folder / source, monitor="val/recall@50", mode="max")
    trainer = quiet_trainer(epochs, [best], num_sanity_val_steps=0)
    trainer.fit(our_model("mean pool", data.num_items), data)
    return float(trainer.test(datamodule=data, ckpt_path="best", verbose=False)[0]["test/recall@50"])


def recbole_job(folder: Path, epochs: int) -> float:
    """Do the job as RecBole's quick start does and return Recall@50 on the test part."""
    from benchmarks.speed import recbole_side

    config = recbole_side.configure(
        "mean pool",
        embedding_size=DIM,
        MAX_ITEM_LIST_LENGTH=LENGTH,
        train_batch_size=BATCH,
        epochs=epochs,
        metrics=["Recall", "MRR", "NDCG", "Hit"],
        topk=list(NS),
        valid_metric="Recall@50",
        checkpoint_dir=str(folder / "recbole"),
    )
    train_data, valid_data, test_data = recbole_side.prepared(config)
    trainer = recbole_side.trainer(config, train_data)
    trainer.fit(train_data, valid_data, saved=True, verbose=False)
    return float(trainer.evaluate(test_data, load_best_model=False)["recall@50"])


def note(
    recalls: dict[str, float], name: str, job: Callable[[int], float], epochs: int, threads: int
) -> None:
    """Do a job and note its Recall; RecBole sets the number of threads for itself."""
    torch.set_num_threads(threads)
    recalls[name] = job(epochs)


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    title = f"# The whole job on ml-100k: prepare, train {EPOCHS} epochs, evaluate after each, test"
    message = missing(PEERS)
    if message is not None:
        return [], f"{title}\n\nLeft out: {message}."
    import polars  # noqa: F401  # its import is not part of the job

    epochs, rounds = (1, 1) if settings.quick else (EPOCHS, min(settings.repeats, 3))
    rows = []
    for threads in settings.threads:
        torch.set_num_threads(threads)
        recalls: dict[str, float] = {}
        with scratch() as place:
            jobs = {name: partial(our_job, name, place) for name in ("TableDataModule", "RecBoleDataModule")}
            jobs["RecBole"] = partial(recbole_job, place)
            for job in jobs.values():
                job(1)  # warms up
            sides = {name: partial(note, recalls, name, job, epochs, threads) for name, job in jobs.items()}
            seconds = alternate(sides, rounds, settings.clock, warm_up=False)
        rows += [
            {
                "side": name,
                "threads": threads,
                "epochs": epochs,
                "rounds": rounds,
                "s": statistics.median(found),
                "RecBole / this": ratio(seconds, "RecBole", name),
                "test recall@50": recalls[name],
            }
            for name, found in seconds.items()
        ]
    torch.set_num_threads(1)
    cells = [
        [
            row["side"],
            str(row["threads"]),
            duration(row["s"]),
            f"{row['RecBole / this']:.2f}",
            f"{row['test recall@50']:.4f}",
        ]
        for row in rows
    ]
    head = ["side", "threads", "time", "RecBole's by this", "test Recall@50"]
    return rows, f"{title}\n\n{table(head, cells)}\n\nGoal: ≥ {GOAL:g}."

"""Training on ml-100k: samples a second, the same model and batch as RecBole and as torch-rechub.

An epoch of the trainers as their users call them: everything between prepared data and trained weights.
Leave-one-out, histories of 20, D = 32, batches of 256, Adam, one process, no loader workers.

Against RecBole, with cross-entropy over the whole catalogue: a mean pool with a linear map, written as a
RecBole model because it has none; NPE, the nearest that it has (a sum instead of the mean, a user embedding
instead of the map); GRU4Rec, one layer of 128. Most of the last is PyTorch's GRU on both sides.

Against torch-rechub, YouTubeDNN with one hidden layer of 128 and, as in its tutorial, three negatives a row.
It has drawn them beforehand and reads rows one by one; ours are drawn at each step. Its layers have batch
normalisation.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.measuring import alternate, missing, ratio, scratch
from benchmarks.common.tables import table
from benchmarks.common.training import quiet_trainer, start_run
from benchmarks.speed.settings import Settings
from lightning_croloss import (
    FullCatalogNegatives,
    GRU4Rec,
    RecBoleDataModule,
    RetrievalModel,
    SoftmaxLoss,
    UniformNegatives,
    YouTubeDNN,
)

PEERS = ("recbole", "torch-rechub")
Row = dict[str, Any]
DIM, LENGTH, BATCH, HIDDEN, NEGATIVES, TEMPERATURE = 32, 20, 256, 128, 3, 0.1
#: What each goal is: samples/s of ours by the peer's.
GOALS = {"mean pool": 1.3, "NPE": 1.3, "GRU": 0.95, "YouTubeDNN": 3.0}


def our_model(kind: str, num_items: int) -> RetrievalModel:
    """Build our side of a comparison."""
    shape = {"num_items": num_items, "embedding_dim": DIM}
    if kind == "YouTubeDNN":
        negatives = UniformNegatives(NEGATIVES, shared=False)
        return YouTubeDNN(
            **shape, hidden_dims=(HIDDEN,), loss=SoftmaxLoss(temperature=TEMPERATURE), negatives=negatives
        )
    shape |= {"similarity": "dot", "loss": SoftmaxLoss(temperature=1.0), "negatives": FullCatalogNegatives()}
    return GRU4Rec(**shape, hidden_dims=(HIDDEN,)) if kind == "GRU" else YouTubeDNN(**shape, hidden_dims=())


def our_epoch(kind: str, data: RecBoleDataModule, steps: int | None) -> Callable[[], None]:
    """Return an epoch of ours."""

    def run() -> None:
        trainer = quiet_trainer(
            1,
            [],
            enable_checkpointing=False,
            limit_train_batches=steps,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        trainer.fit(our_model(kind, data.num_items), data)

    return run


def recbole_epoch(kind: str) -> tuple[Callable[[], None], int]:
    """Return an epoch of RecBole's and the number of its samples."""
    from benchmarks.speed import recbole_side

    sizes = {"embedding_size": DIM, "hidden_size": HIDDEN, "MAX_ITEM_LIST_LENGTH": LENGTH}
    config = recbole_side.configure(kind, train_batch_size=BATCH, epochs=1, **sizes)
    train_data = recbole_side.prepared(config)[0]

    def run() -> None:
        recbole_side.trainer(config, train_data).fit(train_data, saved=False, verbose=False)

    return run, len(train_data._dataset)


def rechub_epoch(data: RecBoleDataModule, folder: Path) -> tuple[Callable[[], None], int]:
    """Return an epoch of torch-rechub's and the number of its samples."""
    from benchmarks.speed import rechub_side

    dataset = data.train_dataloader().dataset
    rows = dataset.__getitems__(range(len(dataset)))
    negatives = torch.randint(1, data.num_items + 1, (len(dataset), NEGATIVES))
    loader = rechub_side.loader(rows.history, rows.targets[:, 0], negatives, BATCH)

    def run() -> None:
        rechub_side.trainer(data.num_items, DIM, HIDDEN, TEMPERATURE, folder).fit(loader)

    return run, len(dataset)


def measure(kind: str, threads: int, settings: Settings) -> Row:
    """Compare one model."""
    start_run(0)
    torch.set_num_threads(threads)
    with scratch() as folder:
        data = RecBoleDataModule("ml-100k", max_history=LENGTH, batch_size=BATCH, seed=0)
        peer, samples = rechub_epoch(data, folder) if kind == "YouTubeDNN" else recbole_epoch(kind)
        if samples != len(data.train_rows):
            raise RuntimeError(
                f"{kind}: ours trains on {len(data.train_rows)} samples, the peer on {samples}"
            )
        ours = our_epoch(kind, data, None)
        rounds = min(settings.repeats, 3) if kind == "GRU" else settings.repeats
        our_epoch(kind, data, 2)()  # what the first call alone does
        seconds = alternate({"ours": ours, "peer": peer}, rounds, settings.clock, warm_up=False)
    torch.set_num_threads(1)
    return {
        "model": kind,
        "peer": "torch-rechub" if kind == "YouTubeDNN" else "RecBole",
        "threads": threads,
        "samples": samples,
        "rounds": rounds,
        **{f"{side} samples/s": samples / statistics.median(found) for side, found in seconds.items()},
        "ours / peer": ratio(seconds, "peer", "ours"),
        "goal": GOALS[kind],
    }


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    rows, notes = [], []
    for peers, kinds in (
        (["recbole"], ["mean pool", "NPE", "GRU"]),
        (["recbole", "torch-rechub"], ["YouTubeDNN"]),
    ):
        message = missing(peers)
        if message is not None:
            notes.append(f"{', '.join(kinds)} left out: {message}.")
            continue
        for threads in settings.threads:
            rows += [measure(kind, threads, settings) for kind in (kinds[:1] if settings.quick else kinds)]
    head = ["model", "peer", "threads", "ours, samples/s", "peer, samples/s", "ours / peer", "goal"]
    cells = [
        [
            row["model"],
            row["peer"],
            str(row["threads"]),
            f"{row['ours samples/s']:,.0f}",
            f"{row['peer samples/s']:,.0f}",
            f"{row['ours / peer']:.2f}",
            f"≥ {row['goal']}",
        ]
        for row in rows
    ]
    what = f"# Training on ml-100k: D = {DIM}, histories of {LENGTH}, batches of {BATCH}"
    return rows, "\n\n".join([what, table(head, cells), *notes])

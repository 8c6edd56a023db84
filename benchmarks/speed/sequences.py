"""SASRec and BERT4Rec beside RecBole's, at a realistic size: seconds an epoch, targets a second.

``beauty.parquet`` out of the folder of ``--data``, leave-one-out: 131,413 targets of training, 12,101 items.
Width 64, one block, two heads, histories of 50, cross-entropy over the whole catalogue, Adam, each side as
its users train it. RecBole's SASRec reads a history for each target, in batches of 512; ours predicts all
targets of a window at once, in batches of 128 windows. An epoch has each target once on both sides.

RecBole's BERT4Rec masks a history for each target, ours each window: their epochs differ, and what compares
is the masked events that are told in a second. Half of RecBole's batches mask the last event alone.

RecBole trains on a few batches in each round, and its epoch is reckoned from them; ours is trained whole.
That RecBole's import makes PyTorch look for the origin of NaN in every backward pass is undone.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.attention import Attention
from benchmarks.common.measuring import alternate, duration, missing, scratch
from benchmarks.common.tables import table
from benchmarks.common.training import quiet_trainer, start_run
from benchmarks.speed.settings import Settings
from lightning_croloss import (
    BERT4Rec,
    FullCatalogNegatives,
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
    TableDataModule,
)
from lightning_croloss.data import RetrievalBatch

PEERS = ("recbole", "polars")
Row = dict[str, Any]
FILE = "beauty.parquet"
ATTENTION = Attention(dim=64, length=50)
WINDOWS, THEIR_BATCH, THEIR_STEPS = 128, 512, 8
MASKED, MASKED_LAST = 0.2, 0.5
#: Name -> our class and its own arguments.
MODELS: dict[str, tuple[Callable[..., RetrievalModel], dict[str, Any]]] = {
    "SASRec": (SASRec, {"train_on": "all"}),
    "BERT4Rec": (BERT4Rec, {"mask_probability": MASKED, "mask_last_probability": MASKED_LAST}),
}
THEIRS: dict[str, Any] = {
    **ATTENTION.theirs,
    "MAX_ITEM_LIST_LENGTH": ATTENTION.length,
    "train_batch_size": THEIR_BATCH,
    "mask_ratio": MASKED,
    "ft_ratio": MASKED_LAST,
}


class Side:
    """An epoch, or its beginning, to be trained again and again; with what it has trained."""

    def __init__(self) -> None:
        #: of the latest call
        self.targets = 0
        #: of an epoch by the part of it that a call trains
        self.share = 1.0

    def __call__(self) -> None:
        """Train."""


class Ours(Side):
    """Our side of a model.

    Args:
        model: its name.
        data: the data.
        steps: how many there are; None = an epoch.
    """

    def __init__(self, model: str, data: TableDataModule, steps: int | None) -> None:
        super().__init__()
        self.model = model
        self.data = data
        self.steps = steps
        data.item_counts  # noqa: B018  # reads the data

    def __call__(self) -> None:
        """Train a new model."""
        cls, arguments = MODELS[self.model]
        model = cls(
            num_items=self.data.num_items,
            embedding_dim=ATTENTION.dim,
            loss=SoftmaxLoss(temperature=1.0),
            negatives=FullCatalogNegatives(),
            similarity="dot",
            ns=(10,),
            **ATTENTION.ours,
            **arguments,
        )
        self.targets = 0
        users_of = model.training_users

        def counted(batch: RetrievalBatch) -> tuple[torch.Tensor, RetrievalBatch]:
            users, apart = users_of(batch)
            self.targets += len(users)
            return users, apart

        model.training_users = counted  # type: ignore[method-assign]
        trainer = quiet_trainer(
            1,
            [],
            enable_checkpointing=False,
            limit_train_batches=self.steps,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        trainer.fit(model, self.data)
        self.share = 1.0 if self.steps is None else self.steps / len(self.data.train_dataloader())


class Theirs(Side):
    """RecBole's side of a model.

    Args:
        model: its name.
        folder: where its data lies, and it may write.
        steps: how many there are in a call.
    """

    def __init__(self, model: str, folder: Path, steps: int) -> None:
        from benchmarks.speed import recbole_side

        super().__init__()
        config = recbole_side.configure(model, "events", folder, **THEIRS)
        self.loader = recbole_side.prepared(config)[0]
        self.trainer = recbole_side.trainer(config, self.loader)
        self.steps = steps
        self.rows = 0

    def __call__(self) -> None:
        """Go on training the model."""
        random.seed(0)  # of what its loader masks
        self.targets = self.rows = 0
        self.trainer._train_epoch(self, 0)
        self.share = self.rows / len(self.loader._dataset)

    def __iter__(self) -> Iterator[Any]:
        """Hand out the first batches of an epoch, counted."""
        for batch in itertools.islice(self.loader, self.steps):
            self.rows += len(batch)
            # 0 stands for no mask: so its loss has it
            self.targets += int((batch["MASK_INDEX"] > 0).sum()) if "MASK_INDEX" in batch else len(batch)
            yield batch


def write_events(data: TableDataModule, folder: Path) -> None:
    """Write the events as RecBole reads them, with each event's number among its user's as its time."""
    import polars as pl

    events = data.interactions
    columns = {
        "user_id:token": events.users,
        "item_id:token": events.items,
        "timestamp:float": events.positions,
    }
    (folder / "events").mkdir()
    pl.DataFrame({name: column.numpy() for name, column in columns.items()}).write_csv(
        folder / "events" / "events.inter", separator="\t"
    )


def measure(settings: Settings, threads: int) -> list[Row]:
    """Compare both models."""
    start_run(0)
    torch.set_num_threads(threads)
    steps, rounds = (2, 1) if settings.quick else (THEIR_STEPS, min(settings.repeats, 3))
    assert settings.data is not None
    data = TableDataModule(
        str(settings.data / FILE),
        batch_size=WINDOWS,
        max_history=ATTENTION.length,
        min_user_interactions=1,
        seed=0,
    )
    with scratch() as folder:
        write_events(data, folder)
        sides: dict[str, Side] = {}
        for model in MODELS:
            sides[f"{model}, here"] = Ours(model, data, steps if settings.quick else None)
            sides[f"{model}, RecBole"] = Theirs(model, folder, steps)
            Ours(model, data, 1)()  # what the first call alone does
        found = alternate(dict(sides), rounds, settings.clock, warm_up=False)
    torch.set_num_threads(1)
    rows = []
    for name, seconds in found.items():
        model, side = name.split(", ")
        rows.append(
            {
                "model": model,
                "side": side,
                "threads": threads,
                "rounds": rounds,
                "share of an epoch": sides[name].share,
                "s an epoch": statistics.median(seconds) / sides[name].share,
                "targets/s": sides[name].targets / statistics.median(seconds),
            }
        )
    return rows


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    dim, length = ATTENTION.dim, ATTENTION.length
    title = f"# SASRec and BERT4Rec on {FILE}: D = {dim}, one block, histories of {length}, whole catalogue"
    message = missing(PEERS) or settings.missing_file(FILE)
    if message is not None:
        return [], f"{title}\n\nLeft out: {message}."
    rows = [row for threads in settings.threads for row in measure(settings, threads)]
    cells = [
        [
            row["model"],
            row["side"],
            str(row["threads"]),
            duration(row["s an epoch"]),
            f"{100 * row['share of an epoch']:.0f} %",
            f"{row['targets/s']:,.0f}",
        ]
        for row in rows
    ]
    head = ["model", "side", "threads", "an epoch", "of which trained", "targets/s"]
    return rows, f"{title}\n\n{table(head, cells)}"

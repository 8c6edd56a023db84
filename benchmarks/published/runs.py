"""How runs are made: leave-one-out over the whole catalogue, as in the benchmark of the eSASRec paper.

Data as given; a user's last event is for test, the one before for validation; histories of 50; what a user
had before is left out of the lists. The rate is constant unless a recipe says otherwise, every epoch is
validated, and the epoch of the best validation Recall@10 is tested. A run's setting may change any of
:data:`RECIPE`.
"""

from __future__ import annotations

import hashlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

import lightning_croloss
from benchmarks.common.packed import packed
from benchmarks.common.rows import Row, Settings, identity
from benchmarks.common.training import BestEpoch, quiet_trainer, start_run
from benchmarks.published.sides import SIDES, N
from lightning_croloss import FullCatalogNegatives, RetrievalModel, TableDataModule, UniformNegatives
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.models.sequence_model import SequenceModel
from lightning_croloss.tuning import tune

NS = (10, 20, 50, 100, 200)
PATIENCE = 50
#: What a setting may change. Widths, blocks, heads and dropout are those of the published configs.
RECIPE: dict[str, Any] = {
    "embedding_dim": 64,
    "num_blocks": 1,
    "num_heads": 1,
    "feedforward": 4,  # in widths
    "dropout": 0.2,
    "history_dropout": 0.0,
    "item_graph_weight": 0.0,
    "negatives": 0,  # 0: the whole catalogue
    "learning_rate": 0.001,
    "cosine": False,  # whether the rate falls to none along half a cosine, else it is constant
    "weight_decay": 0.01,
    "batch_size": 128,  # histories
    "max_history": 50,
    "average": 0.0,  # decay of the moving average of the weights; 0: none
    "similarity": "cosine",
}


def build_data(folder: Path, name: str, recipe: Settings, seed: int) -> TableDataModule:
    """Build the data: the seed is of the order of training."""
    return TableDataModule(
        str(folder / f"{name}.parquet"),
        max_history=recipe["max_history"],
        batch_size=recipe["batch_size"],
        seed=seed,
    )


def build_model(
    architecture: str, num_items: int, loss: RetrievalLoss, recipe: Settings, epochs: int
) -> SequenceModel:
    """Build the model around a loss, to be trained for so many epochs at most."""
    feedforward = recipe["feedforward"]
    own = (
        {"feedforward_multiplier": feedforward}
        if architecture == "ESASRec"
        else {"feedforward_dim": feedforward * recipe["embedding_dim"]}
    )
    build: type[SequenceModel] = getattr(lightning_croloss, architecture)
    drawn = recipe["negatives"]
    return build(
        num_items=num_items,
        embedding_dim=recipe["embedding_dim"],
        num_blocks=recipe["num_blocks"],
        num_heads=recipe["num_heads"],
        dropout=recipe["dropout"],
        history_dropout=recipe["history_dropout"],
        item_graph_weight=recipe["item_graph_weight"],
        max_length=recipe["max_history"],
        similarity=recipe["similarity"],
        train_on="all",
        exclude_history=True,
        negatives=UniformNegatives(drawn) if drawn else FullCatalogNegatives(),
        ns=NS,
        loss=loss,
        optimizer=partial(torch.optim.AdamW, lr=recipe["learning_rate"], weight_decay=recipe["weight_decay"]),
        lr_scheduler=partial(CosineAnnealingLR, T_max=epochs) if recipe["cosine"] else None,
        **own,
    )


def build_loss(loss: Settings) -> RetrievalLoss:
    """Build a loss from its class and arguments."""
    build: type[RetrievalLoss] = getattr(lightning_croloss, loss["class_path"])
    return build(**loss["init_args"])


def work(settings: Settings, folder: str, scratch: str) -> Row:
    """Tune a side, or train a loss: the work of one run.

    Args:
        settings: what to run; with ``purpose`` "tune" the search of a side, else one training.
        folder: where the tables are.
        scratch: where searches keep their checkpoints.
    """
    return search(settings, folder, scratch) if settings["purpose"] == "tune" else train(settings, folder)


def search(settings: Settings, folder: str, scratch: str) -> Row:
    """Choose the loss of a side by ``tune``."""
    start_run(settings["seed"])
    recipe = RECIPE | settings["recipe"]
    name, architecture = settings["data"], settings["architecture"]
    tables = partial(build_data, Path(folder), name, recipe, settings["seed"])
    num_items = tables().num_items
    found = tune(
        lambda loss: build_model(architecture, num_items, loss, recipe, settings["epochs"]),
        tables,
        N,
        trainer=lambda: trainer_for(settings["epochs"], callbacks_of(recipe)),
        candidates=SIDES[settings["side"]],
        folder=Path(scratch) / hashlib.sha256(identity(settings).encode()).hexdigest()[:16],
        seed=settings["seed"],
    )
    winner = found.winners[0]
    return {
        "loss": dict(winner.candidate.loss or {}),
        "valid": round(winner.value, 5),
        "fits": round(found.plan.cost, 3),
    }


def train(settings: Settings, folder: str) -> Row:
    """Train with one loss, keep the best epoch, test it."""
    start_run(settings["seed"])
    recipe = RECIPE | settings["recipe"]
    data = build_data(Path(folder), settings["data"], recipe, settings["seed"])
    model = build_model(
        settings["architecture"], data.num_items, build_loss(settings["loss"]), recipe, settings["epochs"]
    )
    tested = settings["purpose"] == "final"
    return fit_and_test(model, data, settings["epochs"], callbacks_of(recipe), tested)


def fit_and_test(
    model: RetrievalModel,
    data: TableDataModule,
    epochs: int,
    callbacks: list[pl.Callback],
    tested: bool = True,
) -> Row:
    """Train until no epoch gets better, and test the best.

    Args:
        model: the model.
        data: its data.
        epochs: the most there are.
        callbacks: what trains beside the model.
        tested: whether there is a test, else validation alone.

    Returns:
        The figures of each validation, the seconds of an epoch with it, and the ranks of the test.
    """
    best = BestEpoch(f"recall@{N}")
    stop = EarlyStopping(f"val/recall@{N}", mode="max", patience=PATIENCE)
    begun = time.process_time()
    trainer_for(epochs, [best, stop, *callbacks]).fit(model, data)
    row: Row = {
        "valid": [round(value, 5) for value in best.valid],
        "seconds_per_epoch": round((time.process_time() - begun) / len(best.valid), 2),
    }
    if tested:
        model.load_state_dict(best.weights)
        ranks = RankKeeper()
        trainer_for(0, [ranks]).test(model, data, verbose=False)
        row["ranks"] = packed(ranks.ranks)
    return row


def callbacks_of(recipe: Settings) -> list[pl.Callback]:
    """Return what trains beside the recipe; the last of a trainer's, since what averages ends validation."""
    return [EMAWeightAveraging(decay=recipe["average"])] if recipe["average"] else []


def trainer_for(epochs: int, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Return a trainer of so many epochs."""
    return quiet_trainer(epochs, callbacks, enable_checkpointing=False, num_sanity_val_steps=0)


class RankKeeper(pl.Callback):
    """Keeps the rank of each test user's target among the items that the user had not seen."""

    def __init__(self) -> None:
        self._found: list[Tensor] = []

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep those of a batch."""
        self._found += outputs["ranks"]

    @property
    def ranks(self) -> NDArray[np.uint16]:
        """The ranks (users,), in the order of the data."""
        return torch.cat(self._found)[:, 0].numpy().astype("uint16")

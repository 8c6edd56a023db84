"""How one run is made: trained, measured every five epochs, tested with the weights that were best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.common.packed import packed
from benchmarks.common.rows import Row, Settings
from benchmarks.common.tables import Values, user_values
from benchmarks.common.training import quiet_trainer, start_run
from benchmarks.matrix_factorisation import protocol
from benchmarks.matrix_factorisation.protocol import N, build_data, build_model
from benchmarks.matrix_factorisation.sides import build_loss
from lightning_croloss import MatrixFactorization
from lightning_croloss.data.splits.parts import TRAIN, VALID
from lightning_croloss.retrieval import target_ranks


class Watcher(pl.Callback):
    """Measures validation NDCG@20 every few epochs, and test with the weights that are the best so far."""

    def __init__(self) -> None:
        self.valid: list[float] = []
        self.best_epoch = 0
        #: (users, T) ranks of the test targets, as published and with the validation items left out
        self.ranks: dict[str, Tensor] = {}
        self.seen: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look up what each user saw."""
        assert isinstance(pl_module, MatrixFactorization)
        self.seen = seen_items(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure if it is time, and end the run if nothing has become better for long."""
        epoch = trainer.current_epoch + 1
        if epoch % protocol.INTERVAL:
            return
        assert isinstance(pl_module, MatrixFactorization)
        pl_module.eval()
        with torch.no_grad():
            self._measure(pl_module, epoch)
        pl_module.train()
        if epoch - self.best_epoch >= protocol.PATIENCE:
            trainer.should_stop = True

    def _measure(self, model: MatrixFactorization, epoch: int) -> None:
        data = model.data
        assert data is not None
        matrix = model.encode_catalogue()
        ranks = ranks_of(model, matrix, data.val_dataloader(), self.seen["train"])
        value = float(user_values(ranks, "NDCG", N).mean())
        if all(value >= earlier for earlier in self.valid):
            self.best_epoch = epoch
            self.ranks = {
                name: ranks_of(model, matrix, data.test_dataloader(), seen)
                for name, seen in self.seen.items()
            }
        self.valid.append(value)


def seen_items(model: MatrixFactorization) -> dict[str, Tensor]:
    """Return (num_users + 1, E) the items of each user, padded: of training, and of validation too."""
    data = model.data
    assert data is not None
    assert data.interactions.parts is not None
    events, found = data.interactions, {}
    for name, parts in (("train", (TRAIN,)), ("train and validation", (TRAIN, VALID))):
        chosen = torch.isin(events.parts, torch.tensor(parts))
        users, items = events.users[chosen], events.items[chosen]
        count = torch.bincount(users, minlength=events.num_users + 1)
        column = torch.arange(len(users)) - (count.cumsum(0) - count)[users]
        table = torch.zeros(events.num_users + 1, int(count.max()), dtype=torch.long)
        table[users, column] = items
        found[name] = table
    return found


def ranks_of(model: MatrixFactorization, matrix: Tensor, batches: Any, seen: Tensor) -> Tensor:
    """Return (users, T) ranks of the targets among the items that were not seen, 0 where there is none."""
    parts = [
        target_ranks(
            model.encode_users(batch), matrix, batch.padded_targets, excluded=seen[batch.users]
        ).masked_fill(batch.padded_targets == 0, 0)
        for batch in batches
    ]
    width = max(part.shape[1] for part in parts)
    return torch.cat([pad(part, (0, width - part.shape[1])) for part in parts])


def work(settings: Settings, source: str, folder: str) -> Row:
    """Train and measure: the work of one run.

    Args:
        settings: data, side, setting and seed.
        source: the folder that holds the data sets.
        folder: where the parts of the data are written.
    """
    start_run(settings["seed"])
    data = build_data(Path(source) / settings["data"], Path(folder), settings["seed"])
    setting = settings["setting"]
    model = build_model(data, build_loss(settings["side"], setting), setting["rate"])
    watcher = Watcher()
    trainer = quiet_trainer(
        protocol.EPOCHS,
        [watcher],
        enable_checkpointing=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, data)
    row: Row = {"valid": [round(value, 5) for value in watcher.valid], "epoch": watcher.best_epoch}
    for name, label in (("train", "published"), ("train and validation", "left_out")):
        values = {metric: user_values(watcher.ranks[name], metric, N) for metric in ("Recall", "NDCG")}
        row[label] = {metric.lower(): round(float(users.mean()), 5) for metric, users in values.items()}
        if label == "published":
            row["users"] = {metric.lower(): _short(users) for metric, users in values.items()}
    return row


def _short(values: Values) -> str:
    return packed(values.astype("float16"))

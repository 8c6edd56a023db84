"""How one run is made: trained for all its steps, measured after each of its parts.

A trial is judged by its best validation Recall@N **for each N separately**, and tested with the weights of
that moment. Trials have one seed, winners three; nothing is ever chosen on test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.packed import packed
from benchmarks.common.rows import Row, Settings
from benchmarks.common.tables import Values, user_values
from benchmarks.common.training import quiet_trainer, start_run
from benchmarks.losses.datasets import DATA_SETS, NS, PARTS, build_data, build_model
from benchmarks.losses.sides import build_loss
from lightning_croloss import RetrievalModel
from lightning_croloss.data.targets import num_targets as targets_of_rows
from lightning_croloss.retrieval import target_ranks


class Watcher(pl.Callback):
    """Measures validation Recall after each part, and on test the part that is the best so far for each N.

    Args:
        test: whether to look at the test users at all: not while tuning.
        parts: the training ends after so many of them; schedules keep the length of all.
    """

    def __init__(self, test: bool, parts: int = PARTS) -> None:
        self.test = test
        self.parts = parts
        self.valid: list[dict[int, float]] = []
        self.hits: dict[int, NDArray[np.uint16]] = {}
        self.ndcg: dict[int, Values] = {}
        self._moments: list[int] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fix the steps after which to measure."""
        total = int(trainer.estimated_stepping_batches)
        self._moments = [round(total * part / PARTS) for part in range(1, PARTS + 1)]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure if a part has ended."""
        assert isinstance(pl_module, RetrievalModel)
        if trainer.global_step not in self._moments:
            return
        pl_module.eval()
        with torch.no_grad():
            self._measure(pl_module)
        pl_module.train()
        if len(self.valid) == self.parts:
            trainer.should_stop = True

    def _measure(self, model: RetrievalModel) -> None:
        data = model.data
        assert data is not None
        matrix = model.encode_catalogue()
        ranks = ranks_of(model, matrix, data.val_dataloader())
        now = {n: float(user_values(ranks, "Recall", n).mean()) for n in NS}
        better = [n for n in NS if all(now[n] > earlier[n] for earlier in self.valid)]
        self.valid.append(now)
        if self.test and better:
            ranks = ranks_of(model, matrix, data.test_dataloader())
            for n in better:
                self.hits[n] = ((ranks > 0) & (ranks <= n)).sum(1).numpy().astype("uint16")
                self.ndcg[n] = user_values(ranks, "NDCG", n)


def ranks_of(model: RetrievalModel, matrix: Tensor, batches: Any) -> Tensor:
    """Return (users, T) ranks of the targets, 0 where there is none."""
    parts = [target_ranks(model.encode_users(batch), matrix, batch.targets) for batch in batches]
    width = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])


def work(settings: Settings, folder: str) -> Row:
    """Train for all epochs: the work of one run."""
    start_run(settings["seed"])
    name, architecture = settings["data"], settings["architecture"]
    data = build_data(Path(folder), name, settings["seed"], architecture)
    loss = build_loss(settings["side"], settings["setting"])
    model = build_model(name, data.num_items, loss, architecture)
    watcher = Watcher(settings["purpose"] == "final", settings.get("parts", PARTS))
    trainer = quiet_trainer(
        DATA_SETS[name].epochs,
        [watcher],
        enable_checkpointing=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, data)
    row: Row = {"valid": {str(n): [round(part[n], 5) for part in watcher.valid] for n in NS}}
    if watcher.test:
        row["hits"] = {str(n): packed(watcher.hits[n]) for n in NS}
        row["ndcg"] = {str(n): packed(watcher.ndcg[n].astype("float16")) for n in NS}
    return row


def num_targets(folder: Path, name: str) -> NDArray[np.int64]:
    """Return the number of targets of each test user, in the order of the rows."""
    data = build_data(folder, name, 0)
    data.prepare_data()
    data.setup("test")
    return targets_of_rows(data.interactions, data.rows.test).numpy().astype("int64")

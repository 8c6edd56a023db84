"""The runs: who competes, with which settings, on what data, and how one run is made.

Protocol of the paper: users are divided 8:1:1, the first 80 % of an evaluation user's events are the
history, the rest its targets; the whole catalogue is ranked; D = 32; batches of 256 targets (of 32 histories,
with some 300 targets, where an architecture trains on all positions), 2,560 uniform negatives.
Each side is tuned **for each N separately**: a trial is judged by its best validation Recall@N, and tested
with the weights of that epoch. Trials run on YouTubeDNN with one seed; the winners are run on every
architecture with three seeds. All runs have the same epochs, optimizer and regularisation; nothing is ever
chosen on test.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

import lightning_croloss
from benchmarks.common.packed import packed
from benchmarks.common.rows import Row, Settings
from benchmarks.common.tables import Values, user_values
from benchmarks.common.training import quiet_trainer, start_run
from lightning_croloss import (
    CROLoss,
    CROLossCallback,
    PowerImportance,
    RetrievalModel,
    SoftmaxLoss,
    TableDataModule,
    TargetNImportance,
    UniformNegatives,
    UserDisjoint,
)
from lightning_croloss.callbacks import Geometric
from lightning_croloss.data.targets import num_targets as targets_of_rows
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.retrieval import target_ranks

CONFIGS = Path(__file__).parents[2] / "configs" / "video"
#: In the order in which they are run.
ARCHITECTURES = {
    "YouTubeDNN": "youtube_dnn",
    "GRU4Rec": "gru4rec",
    "ComiRecSA": "comirec_sa",
    "MIND": "mind",
    "SASRec": "sasrec",
}
NS = (20, 50, 100, 200, 500)
SEEDS = (1, 2, 3)
EPOCHS = 8
LEARNING_RATE = 0.003

TRIALS: dict[str, list[Settings]] = {
    # 14 temperatures from 0.05 to 0.4, in equal ratios
    "softmax": [{"temperature": round(0.05 * 8 ** (step / 13), 4)} for step in range(14)],
    "CROLoss": [
        *({"kernel": "sigmoid", "alpha": a, "temperature": t} for a in (0.8, 1.0, 1.2) for t in (0.07, 0.1)),
        *({"kernel": "exp", "alpha": a, "temperature": t} for a in (0.8, 1.2) for t in (0.14, 0.2)),
        {"kernel": "sigmoid", "n": 20, "from": 5000, "temperature": 0.1},
        {"kernel": "sigmoid", "n": 100, "from": 5000, "temperature": 0.1},
        {"kernel": "sigmoid", "n": 100, "from": 100, "temperature": 0.1},
        {"kernel": "sigmoid", "n": 500, "from": 500, "temperature": 0.14},
    ],
}


def build_loss(side: str, setting: Settings) -> tuple[RetrievalLoss, list[pl.Callback]]:
    """Build a loss, and the callback that anneals its n over the first half of the training."""
    setting = dict(setting)
    if side == "softmax":
        return SoftmaxLoss(**setting), []
    if "n" not in setting:
        return CROLoss(importance=PowerImportance(setting.pop("alpha")), **setting), []
    n, start = setting.pop("n"), setting.pop("from")
    schedule = CROLossCallback(n=Geometric(start=start, end=n, until=0.5) if start != n else n)
    return CROLoss(importance=TargetNImportance(n), **setting), [schedule]


def config_of(architecture: str) -> dict[str, Any]:
    """Return the config file of an architecture."""
    config: dict[str, Any] = yaml.safe_load((CONFIGS / f"{ARCHITECTURES[architecture]}.yaml").read_text())
    return config


def build_data(path: str, seed: int, architecture: str = "YouTubeDNN") -> TableDataModule:
    """Build the data; the seed is of the order of training, the division of the users is always the same."""
    return TableDataModule(
        path,
        min_user_interactions=5,
        split=UserDisjoint(0.8, 0.1, 0.1, history=0.8),
        batch_size=config_of(architecture)["data"]["init_args"]["batch_size"],
        seed=seed,
    )


def build_model(architecture: str, num_items: int, loss: RetrievalLoss) -> RetrievalModel:
    """Build the architecture of a config file around another loss."""
    arguments: dict[str, Any] = config_of(architecture)["model"]["init_args"] | {
        "num_items": num_items,
        "embedding_dim": 32,
        "loss": loss,
        "negatives": UniformNegatives(2560),
        "ns": NS,
        "optimizer": partial(torch.optim.AdamW, lr=LEARNING_RATE, weight_decay=0.01),
    }
    model: RetrievalModel = getattr(lightning_croloss, architecture)(**arguments)
    return model


class Watcher(pl.Callback):
    """Keeps validation Recall of every epoch, and the test hits of the epoch that is best for each N.

    Args:
        test: whether to look at the test users at all: not while tuning.
    """

    def __init__(self, test: bool) -> None:
        self.test = test
        self.valid: list[dict[int, float]] = []
        self.hits: dict[int, NDArray[np.uint8]] = {}
        self.ndcg: dict[int, Values] = {}

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the figures, and test if they are the best so far."""
        assert isinstance(pl_module, RetrievalModel)
        if trainer.sanity_checking:
            return
        measured = pl_module.metrics["val"].compute()
        now = {n: float(measured[f"recall@{n}"]) for n in NS}
        better = [n for n in NS if all(now[n] > earlier[n] for earlier in self.valid)]
        self.valid.append(now)
        if self.test and better:
            ranks = self.test_ranks(trainer, pl_module)
            for n in better:
                self.hits[n] = ((ranks > 0) & (ranks <= n)).sum(1).byte().numpy()
                self.ndcg[n] = user_values(ranks, "NDCG", n)

    @staticmethod
    def test_ranks(trainer: pl.Trainer, model: RetrievalModel) -> Tensor:
        """Return (users, T) ranks of the targets, 0 where there is none."""
        data = model.data
        assert data is not None
        matrix = model.encode_catalogue()
        parts = [
            target_ranks(model.encode_users(batch), matrix, batch.targets) for batch in data.test_dataloader()
        ]
        width = max(part.shape[1] for part in parts)
        return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])


def work(settings: Settings, path: str) -> Row:
    """Train for all epochs: the work of one run."""
    start_run(settings["seed"])
    data = build_data(path, settings["seed"], settings["architecture"])
    loss, callbacks = build_loss(settings["side"], settings["setting"])
    model = build_model(settings["architecture"], data.num_items, loss)
    watcher = Watcher(test=settings["purpose"] == "final")
    trainer = quiet_trainer(EPOCHS, [*callbacks, watcher], enable_checkpointing=False, num_sanity_val_steps=0)
    trainer.fit(model, data)
    row: Row = {"valid": {str(n): [round(epoch[n], 5) for epoch in watcher.valid] for n in NS}}
    if watcher.test:
        row["hits"] = {str(n): packed(watcher.hits[n]) for n in NS}
        row["ndcg"] = {str(n): packed(watcher.ndcg[n].astype("float16")) for n in NS}
    return row


def tuning_runs() -> list[Settings]:
    """Every trial of both sides, on YouTubeDNN with one seed."""
    return [
        {"purpose": "tuning", "architecture": "YouTubeDNN", "side": side, "setting": setting, "seed": 0}
        for side, trials in TRIALS.items()
        for setting in trials
    ]


def chosen(rows: dict[str, Row]) -> dict[tuple[str, int], Settings]:
    """Return the setting of each side that is best on validation for each N."""
    best: dict[tuple[str, int], tuple[float, Settings]] = {}
    for row in rows.values():
        settings = row["settings"]
        if settings["purpose"] != "tuning" or settings["setting"] not in TRIALS[settings["side"]]:
            continue
        for n in NS:
            value = max(row["valid"][str(n)])
            if value > best.get((settings["side"], n), (-1.0, {}))[0]:
                best[settings["side"], n] = value, settings["setting"]
    return {key: setting for key, (_, setting) in best.items()}


def final_runs(rows: dict[str, Row], architectures: list[str]) -> list[Settings]:
    """Each winner on each architecture, seed after seed, so that what is there can always be compared."""
    runs = [
        {"purpose": "final", "architecture": architecture, "side": side, "setting": setting, "seed": seed}
        for architecture in architectures
        for seed in SEEDS
        for (side, _), setting in sorted(chosen(rows).items())
    ]
    return [run for number, run in enumerate(runs) if run not in runs[:number]]


def num_targets(path: str) -> NDArray[np.int64]:
    """Return the number of targets of each test user, in the order of the rows."""
    data = build_data(path, 0)
    return targets_of_rows(data.interactions, data.rows.test).numpy()

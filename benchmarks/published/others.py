"""Models of other families, each with settings that others have published, under the same protocol, one seed.

What a source leaves open, or what belongs to the protocol, is that of runs.py: up to 200 epochs, patience 50,
the constant rate of .001 unless the source names one. Two things differ from most sources: one draw of
negatives serves a whole batch where they are sampled by the hundred, and the data has no times, which HSTU's
published figures had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

import lightning_croloss
from benchmarks.common.rows import Row, Settings
from benchmarks.common.tables import mean_of_seeds
from benchmarks.common.training import start_run
from benchmarks.published.plan import SEEDS
from benchmarks.published.runs import NS, build_loss, fit_and_test
from lightning_croloss import RetrievalModel, TableDataModule

SOFTMAX: Settings = {"class_path": "SoftmaxLoss", "init_args": {"temperature": 1.0}}
BPR: Settings = {"class_path": "BPRLoss", "init_args": {"temperature": 1.0}}
WHOLE: Settings = {"class_path": "FullCatalogNegatives", "init_args": {}}
#: The most epochs of a run.
MOST_EPOCHS = 200
HSTU: Settings = {
    "embedding_dim": 64,
    "max_length": 50,
    "use_times": False,
    "train_on": "all",
    "similarity": "cosine",
}
HSTU_LOSS: Settings = {"class_path": "SoftmaxLoss", "init_args": {"temperature": 0.05}}


def drawn(number: int, shared: bool) -> Settings:
    """Return uniform negatives: for the whole batch, or else of each row."""
    return {"class_path": "UniformNegatives", "init_args": {"num_negatives": number, "shared": shared}}


@dataclass(frozen=True)
class Family:
    """Settings of a model that somebody has published.

    Attributes:
        architecture: name of the class.
        source: where the settings stand.
        model: arguments of the class.
        data: arguments of the data module.
        loss: class and arguments of the loss.
        negatives: class and arguments of the negatives.
        rate: learning rate of Adam.
        weight_decay: its decay, of AdamW with "AdamW", else the square's gradient.
        optimizer: its name in torch.
    """

    architecture: str
    source: str
    model: Settings
    data: Settings
    loss: Settings = field(default_factory=lambda: SOFTMAX)
    negatives: Settings = field(default_factory=lambda: WHOLE)
    rate: float = 0.001
    weight_decay: float = 0.0
    optimizer: str = "Adam"

    @property
    def recipe(self) -> Settings:
        """All of it that a run depends on, as plain types."""
        return {
            "model": self.model,
            "data": self.data,
            "loss": self.loss,
            "negatives": self.negatives,
            "optimizer": self.optimizer,
            "learning_rate": self.rate,
            "weight_decay": self.weight_decay,
        }


OTHERS: dict[str, Family] = {
    "HSTU": Family(
        "HSTU",
        "its authors' config for Amazon Books with histories of 50 (hstu-sampled-softmax-n512-final.gin)",
        HSTU | {"num_blocks": 4, "num_heads": 4, "dropout": 0.5, "embedding_dropout": 0.5},
        {"batch_size": 128, "max_history": 50},
        HSTU_LOSS,
        drawn(512, shared=True),
    ),
    "HSTU, one block": Family(
        "HSTU",
        "the eSASRec paper's table of what its grid chose for Beauty and Toys; the temperature as above",
        HSTU | {"num_blocks": 1, "num_heads": 1, "dropout": 0.2, "embedding_dropout": 0.2},
        {"batch_size": 128, "max_history": 50},
        HSTU_LOSS,
        drawn(256, shared=True),
    ),
    "BERT4Rec": Family(
        "BERT4Rec",
        "its authors' config for Beauty (run_beauty.sh, bert_config_beauty_64.json) at ten times its rate, "
        "which was for 400,000 steps",
        {
            "embedding_dim": 64,
            "num_blocks": 2,
            "num_heads": 2,
            "feedforward_dim": 256,
            "dropout": 0.5,
            "embedding_dropout": 0.5,
            "mask_probability": 0.6,
            "max_length": 50,
            "similarity": "dot",
        },
        {"batch_size": 256, "max_history": 50},
        weight_decay=0.01,
        optimizer="AdamW",
    ),
    "Caser": Family(
        "Caser",
        "the defaults of its authors' PyTorch code (caser_pytorch, train_caser.py)",
        {
            "embedding_dim": 50,
            "num_events": 5,
            "num_horizontal": 16,
            "num_vertical": 4,
            "use_user_id": True,
            "dropout": 0.5,
            "similarity": "dot",
        },
        {"batch_size": 512, "max_history": 5, "target_window": 3, "targets_per_history": 3},
        {"class_path": "BCELoss", "init_args": {"temperature": 1.0}},
        drawn(3, shared=False),
        weight_decay=1e-6,
    ),
    "GRU4Rec": Family(
        "GRU4Rec",
        "RecBole's GRU4Rec.yaml and overall.yaml, batches of about 2,048 targets",
        {
            "embedding_dim": 64,
            "hidden_dims": [128],
            "embedding_dropout": 0.3,
            "train_on": "all",
            "similarity": "dot",
        },
        {"batch_size": 350, "max_history": 50},
    ),
    "LightGCN": Family(
        "LightGCN",
        "its paper, and its authors' command for Gowalla and Yelp",
        {"embedding_dim": 64, "num_layers": 3, "regularization": 1e-4, "similarity": "dot"},
        {"batch_size": 2048, "max_history": 1},
        BPR,
        drawn(1, shared=False),
    ),
    "NGCF": Family(
        "NGCF",
        "its authors' command for Amazon Book",
        {
            "embedding_dim": 64,
            "hidden_dims": [64, 64, 64],
            "node_dropout": 0.1,
            "message_dropout": 0.1,
            "regularization": 1e-5,
            "similarity": "dot",
        },
        {"batch_size": 1024, "max_history": 1},
        BPR,
        drawn(1, shared=False),
        rate=0.0005,
    ),
}


def runs(data: str, names: Sequence[str] = tuple(OTHERS)) -> list[Settings]:
    """Return a run of each model."""
    return [
        {
            "purpose": "other",
            "data": data,
            "model": name,
            "architecture": OTHERS[name].architecture,
            "recipe": OTHERS[name].recipe,
            "seed": SEEDS[0],
            "epochs": MOST_EPOCHS,
        }
        for name in names
    ]


def work(settings: Settings, folder: str) -> Row:
    """Train a model, keep the best epoch, test it.

    Args:
        settings: what to run.
        folder: where the tables are.
    """
    start_run(settings["seed"])
    data = build_data(Path(folder), settings["data"], settings["recipe"], settings["seed"])
    model = build_model(settings["architecture"], settings["recipe"], data)
    return fit_and_test(model, data, settings["epochs"], [])


def build_data(folder: Path, name: str, recipe: Settings, seed: int) -> TableDataModule:
    """Build the data: the seed is of the order of training."""
    return TableDataModule(str(folder / f"{name}.parquet"), seed=seed, **recipe["data"])


def build_model(architecture: str, recipe: Settings, data: TableDataModule) -> RetrievalModel:
    """Build the model of a recipe for its data."""
    build: type[RetrievalModel] = getattr(lightning_croloss, architecture)
    sizes: dict[str, Any] = {"num_items": data.num_items}
    if build.needs_known_users or recipe["model"].get("use_user_id"):
        sizes["num_users"] = data.num_users
    negatives = recipe["negatives"]
    return build(
        **sizes,
        **recipe["model"],
        loss=build_loss(recipe["loss"]),
        negatives=getattr(lightning_croloss, negatives["class_path"])(**negatives["init_args"]),
        exclude_history=True,
        ns=NS,
        optimizer=partial(
            getattr(torch.optim, recipe["optimizer"]),
            lr=recipe["learning_rate"],
            weight_decay=recipe["weight_decay"],
            fused=True,
        ),
    )


def lines_of(columns: Mapping[str, Sequence[Any]]) -> list[list[str]]:
    """Return the lines of the table of test figures.

    Args:
        columns: name of a model -> the values of its users for each column, of each seed.
    """
    return [
        [
            name,
            f"ours, one seed, settings of {OTHERS[name].source}",
            *(mean_of_seeds(each, 2) for each in found),
        ]
        for name, found in columns.items()
    ]

"""The data sets, and what is the same for every loss on each: filter, history, dropout, epochs.

Users are divided 8:1:1 and disjoint, the first 80 % of an evaluation user's events are the history, the rest
a set of targets; the whole catalogue is ranked. Sessions (diginetica, nowplaying) are short: they need two
events, users of the others five. Regularisation and length were set once for each, for no loss in particular.
``ml-100k`` (bundled with RecBole) and ``ciao`` are for the rule of ``CROLoss(n=…)`` alone: a small dense
catalogue, and one of many items with hardly any events.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lightning_croloss import (
    FullCatalogNegatives,
    RecBoleDataModule,
    RetrievalModel,
    SASRec,
    TableDataModule,
    UniformNegatives,
    UserDisjoint,
    YouTubeDNN,
)
from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.losses import RetrievalLoss

NS = (20, 50, 100, 200, 500)
#: YouTubeDNN whose items are smoothed along the graph of those that stand near them in training.
SMOOTHED = "YouTubeDNN, smoothed items"
ARCHITECTURES = ("YouTubeDNN", "SASRec", SMOOTHED)
#: A run is measured after each of so many equal parts of its steps.
PARTS = 8
#: Side of the vectors, draws of each batch: those of the paper.
EMBEDDING_DIM, NUM_NEGATIVES = 32, 2560
LEARNING_RATE, WEIGHT_DECAY = 0.003, 0.01


@dataclass(frozen=True)
class DataSet:
    """A data set and its protocol.

    Attributes:
        num_items: size of the catalogue, of the users that are left.
        min_user_interactions: users with fewer events are left out.
        epochs: length of a run of YouTubeDNN.
        history_dropout: share of the history's items that YouTubeDNN leaves out while training.
        max_history: most events of a history.
    """

    num_items: int
    min_user_interactions: int
    epochs: int
    history_dropout: float
    max_history: int = 50


DATA_SETS = {
    "video": DataSet(23_464, min_user_interactions=5, epochs=8, history_dropout=0.5),
    "diginetica": DataSet(43_097, min_user_interactions=2, epochs=3, history_dropout=0.0, max_history=20),
    "beauty_large": DataSet(54_542, min_user_interactions=5, epochs=10, history_dropout=0.5),
    "cds": DataSet(35_118, min_user_interactions=5, epochs=6, history_dropout=0.5),
    "nowplaying": DataSet(60_416, min_user_interactions=2, epochs=3, history_dropout=0.2, max_history=20),
    "toys": DataSet(11_924, min_user_interactions=5, epochs=16, history_dropout=0.5),
    "ml-100k": DataSet(1_682, min_user_interactions=5, epochs=20, history_dropout=0.5),
    "ciao": DataSet(105_114, min_user_interactions=5, epochs=8, history_dropout=0.5),
}


def build_data(folder: Path, name: str, seed: int, architecture: str = "YouTubeDNN") -> RetrievalDataModule:
    """Build the data; the seed is of the order of training, the division of the users is always the same."""
    data_set = DATA_SETS[name]
    shared: dict[str, Any] = {
        "split": UserDisjoint(0.8, 0.1, 0.1, history=0.8),
        "max_history": data_set.max_history,
        # SASRec trains on all positions of a history: some 8 targets each
        "batch_size": 32 if architecture == "SASRec" else 256,
        "seed": seed,
    }
    if name == "ml-100k":
        return RecBoleDataModule(name, **shared)
    events = str(folder / f"{name}.parquet")
    return TableDataModule(events, min_user_interactions=data_set.min_user_interactions, **shared)


def build_model(
    name: str, num_items: int, loss: RetrievalLoss, architecture: str = "YouTubeDNN"
) -> RetrievalModel:
    """Build the model around a loss."""
    shared: dict[str, Any] = {
        "num_items": num_items,
        "embedding_dim": EMBEDDING_DIM,
        "loss": loss,
        "negatives": UniformNegatives(NUM_NEGATIVES) if num_items > NUM_NEGATIVES else FullCatalogNegatives(),
        "ns": NS,
    }
    optimizer = partial(torch.optim.AdamW, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    dropout = DATA_SETS[name].history_dropout
    if architecture == "SASRec":
        return SASRec(
            **shared,
            max_length=DATA_SETS[name].max_history,
            num_blocks=1,
            num_heads=1,
            feedforward_dim=4 * EMBEDDING_DIM,
            train_on="all",
            dropout=0.2,
            history_dropout=dropout / 2,
            optimizer=partial(torch.optim.AdamW, lr=LEARNING_RATE / 3, weight_decay=WEIGHT_DECAY),
        )
    return YouTubeDNN(
        **shared,
        hidden_dims=[],
        history_dropout=dropout,
        item_graph_weight=1.0 if architecture == SMOOTHED else 0.0,
        optimizer=optimizer,
    )

"""The architectures, as small as the tests of this folder train them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lightning_croloss import (
    HSTU,
    MIND,
    NGCF,
    BERT4Rec,
    BSARec,
    Caser,
    ComiRecDR,
    ComiRecSA,
    CROLoss,
    ESASRec,
    FullCatalogNegatives,
    GRU4Rec,
    InBatchNegatives,
    LightGCN,
    MatrixFactorization,
    MixedNegatives,
    PopularityNegatives,
    RetrievalModel,
    SASRec,
    SoftmaxLoss,
    TwoTower,
    UniformNegatives,
    YouTubeDNN,
)
from tests.data_for_tests import EventData, fit
from tests.gpu.device import TRAINER, sized

USERS, ITEMS = sized(600, 60), sized(400, 40)


def data(**kwargs: Any) -> EventData:
    """Return the data, always the same."""
    return EventData(num_users=USERS, num_items=ITEMS, **{"batch_size": sized(64, 32), "seed": 0, **kwargs})


_SPECS = data()
_ITEMS = {"item_features": _SPECS.item_feature_specs}
_EVENTS = {"event_features": _SPECS.event_feature_specs}
_FEATURES = {"num_users": USERS, "user_features": _SPECS.user_feature_specs, **_ITEMS}

#: name -> architecture and its arguments: between them every sampler, both paths of the loss, and the
#: settings that have code of their own.
ARCHITECTURES: dict[str, tuple[type[RetrievalModel], Mapping[str, Any]]] = {
    "YouTubeDNN": (YouTubeDNN, _FEATURES),
    "YouTubeDNN, whole catalogue": (
        YouTubeDNN,
        {"loss": CROLoss("exp", fused=True), "negatives": FullCatalogNegatives(True), "pooling": "max"},
    ),
    "YouTubeDNN, sparse": (YouTubeDNN, {"sparse_gradients": True, "history_dropout": 0.2}),
    "YouTubeDNN, smoothed items": (YouTubeDNN, {"item_graph_weight": 0.5, "similarity": "dot"}),
    "TwoTower": (TwoTower, {**_FEATURES, "use_user_id": True, "negatives": InBatchNegatives()}),
    "MIND": (MIND, {"num_interests": 2, "loss": SoftmaxLoss(fused=True)}),
    "MIND, attention": (MIND, {"num_interests": 3, "readout": "attention", "routing_init": "fixed"}),
    "ComiRecSA": (ComiRecSA, {"num_interests": 2, "negatives": PopularityNegatives(30)}),
    "ComiRecDR": (ComiRecDR, {"num_interests": 2, "dropout": 0.1}),
    "GRU4Rec": (
        GRU4Rec,
        {"dropout": 0.1, "negatives": MixedNegatives([InBatchNegatives(), UniformNegatives(20)])},
    ),
    "GRU4Rec, all positions": (GRU4Rec, {"train_on": "all", "similarity": "dot"}),
    "SASRec": (SASRec, {"negatives": UniformNegatives(8, shared=False)}),
    "SASRec, all positions": (SASRec, {"train_on": "all", **_ITEMS, "loss": CROLoss(fused=True)}),
    "ESASRec": (ESASRec, {"train_on": "all", "similarity": "dot", "dropout": 0.1}),
    "HSTU": (HSTU, {"train_on": "all", "dropout": 0.1}),
    "HSTU, features of events": (HSTU, {**_EVENTS, "num_blocks": 1}),
    "BERT4Rec": (
        BERT4Rec,
        {
            "dropout": 0.1,
            "embedding_dim": 32,  # it learns slowly at a smaller width
            "optimizer": functools.partial(torch.optim.Adam, lr=0.03),
        },
    ),
    "BSARec": (BSARec, {"dropout": 0.1}),
    "Caser": (Caser, {"num_users": USERS, "use_user_id": True, "dropout": 0.1}),
    "MatrixFactorization": (
        MatrixFactorization,
        {"num_users": USERS, "optimizer": functools.partial(torch.optim.Adam, lr=0.1)},
    ),
    "LightGCN": (
        LightGCN,
        {
            "num_users": USERS,
            "edge_dropout": 0.1,
            "regularization": 1e-4,
            "optimizer": functools.partial(torch.optim.Adam, lr=0.1),
        },
    ),
    "NGCF": (NGCF, {"num_users": USERS, "node_dropout": 0.1, "regularization": 1e-4}),
}


def build(name: str, **changed: Any) -> Any:
    """Build an architecture, always with the same weights."""
    cls, arguments = ARCHITECTURES[name]
    torch.manual_seed(0)
    defaults = {
        "num_items": ITEMS,
        "embedding_dim": sized(32, 8),
        "ns": (5, 20),
        "negatives": UniformNegatives(30),
        "optimizer": functools.partial(torch.optim.Adam, lr=0.01),
    }
    return cls(**{**defaults, **arguments, **changed})


class Steps(Callback):
    """Keeps the loss of every step, and where its weights and data were."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.devices: set[str] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step."""
        self.losses.append(float(outputs["loss"]))
        states = trainer.optimizers[0].state.values()
        moments = [value for state in states for name, value in state.items() if name != "step"]
        tensors = [*pl_module.parameters(), *pl_module.buffers(), *moments, batch.history, outputs["loss"]]
        self.devices |= {tensor.device.type for tensor in tensors}


def train(model: RetrievalModel, folder: Path | None = None, **kwargs: Any) -> Trainer:
    """Fit a model on the device of the tests."""
    return fit(model, kwargs.pop("data", None) or data(), folder=folder, **{**TRAINER, **kwargs})

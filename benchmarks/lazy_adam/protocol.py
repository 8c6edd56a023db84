"""The runs: LazyAdam against AdamW on two datasets, and how one run is made.

Everything equal but ``sparse_gradients``: MovieLens-100k (1,682 items, where they would not be chosen by
themselves) and Ciao (105,114 items, where they would). YouTubeDNN, CROLoss, uniform negatives, AdamW with
decoupled weight decay, leave-one-out; test Recall of the epoch that is best on validation Recall@50.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.common.rows import Row, Settings
from benchmarks.common.training import BestEpoch, quiet_trainer, start_run
from lightning_croloss import (
    CROLoss,
    LeaveOneOut,
    RecBoleDataModule,
    RetrievalDataModule,
    TableDataModule,
    UniformNegatives,
    YouTubeDNN,
)

SEEDS = (1, 2, 3)
DATA = {"ml-100k": 12, "ciao": 8}  # epochs
NS = (20, 50, 100, 500)


def build_data(name: str, folder: str, seed: int) -> RetrievalDataModule:
    """Build one of the two datasets."""
    if name == "ml-100k":
        return RecBoleDataModule(dataset=name, batch_size=512, max_history=50, seed=seed)
    return TableDataModule(
        str(Path(folder) / f"{name}.parquet"),
        duplicates="first",
        min_user_interactions=5,
        split=LeaveOneOut(),
        batch_size=1024,
        max_history=50,
        seed=seed,
    )


def work(settings: Settings, folder: str) -> Row:
    """Train once."""
    start_run(settings["seed"])
    data = build_data(settings["data"], folder, settings["seed"])
    model = YouTubeDNN(
        num_items=data.num_items,
        embedding_dim=32,
        hidden_dims=(),
        history_dropout=0.3,
        loss=CROLoss(temperature=0.1),
        negatives=UniformNegatives(1024),
        ns=NS,
        exclude_history=True,
        optimizer=partial(torch.optim.AdamW, lr=0.003, weight_decay=0.01),
        sparse_gradients=settings["sparse"],
    )
    best = BestEpoch()
    options = {"enable_checkpointing": False, "num_sanity_val_steps": 0}
    begin = time.process_time()
    trainer = quiet_trainer(DATA[settings["data"]], [best], **options)
    trainer.fit(model, data)
    seconds = time.process_time() - begin
    model.load_state_dict(best.weights)
    (measured,) = trainer.test(model, data, verbose=False)
    return {"fit_seconds": seconds, **{f"recall@{n}": measured[f"test/recall@{n}"] for n in NS}}


def runs() -> list[Settings]:
    """Every run of the table."""
    return [
        {"data": data, "sparse": sparse, "seed": seed}
        for data in DATA
        for seed in SEEDS
        for sparse in (True, False)
    ]

"""The runs: three sides on the data of new users, and how one run is made.

Half of the users of Amazon Video Games pretrain a YouTubeDNN. Of the other half, 10 % and 30 % of
all users are the new training data, 10 % each validate and test; their catalogue is what they used, matched
by token. Both sides have the same model, loss, epochs and learning rates to choose from; rate and epoch
are chosen on validation Recall@50. A pretrained model that is not trained on the new data is the third side.
Mean ± deviation over seeds, which also divide the users.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import polars
import torch

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.common.training import BestEpoch, quiet_trainer, start_run
from lightning_croloss import (
    CROLoss,
    TableDataModule,
    UniformNegatives,
    UserDisjoint,
    YouTubeDNN,
    load_matching,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.common.files import replacing

SEEDS = (1, 2, 3)
PARTS = (10, 30)
RATES = (0.001, 0.003)
SIDES = ("scratch", "fine-tuned")
EPOCHS = 8
HELD_OUT = 10  # percent of the users, for validation and for test


def build_data(folder: Path, source: str, part: int | None, seed: int) -> TableDataModule:
    """Build the data of the new users, of whom ``part`` percent train; None is the pretraining half."""
    path = folder / f"{part or 'pretraining'}-{seed}.parquet"
    if not path.exists():
        events = polars.read_parquet(source)
        users = events["user_id"].unique(maintain_order=True).to_numpy()
        users = np.random.default_rng(seed).permutation(users)
        half = len(users) // 2
        chosen = users[:half] if part is None else users[half:][: len(users) * (part + 2 * HELD_OUT) // 100]
        with replacing(path) as temporary:
            events.filter(polars.col("user_id").is_in(chosen.tolist())).write_parquet(temporary)
    total = 100 if part is None else part + 2 * HELD_OUT
    held_out = HELD_OUT / total
    return TableDataModule(
        str(path),
        min_user_interactions=5,
        split=UserDisjoint(1 - 2 * held_out, held_out, held_out, history=0.8),
        batch_size=256,
        seed=seed,
    )


def build_model(num_items: int, rate: float) -> YouTubeDNN:
    """Build the model of every side."""
    return YouTubeDNN(
        num_items=num_items,
        embedding_dim=32,
        hidden_dims=(),
        history_dropout=0.5,
        loss=CROLoss(kernel="exp", temperature=0.14),
        negatives=UniformNegatives(2560),
        ns=(50,),
        optimizer=partial(torch.optim.AdamW, lr=rate, weight_decay=0.01),
    )


def pretrain(folder: Path, source: str, seed: int, epochs: int) -> Path:
    """Train on the pretraining half, once, and return the folder of the model."""
    path = folder / f"model-{seed}"
    if not path.exists():
        start_run(seed)
        data = build_data(folder, source, None, seed)
        model = build_model(data.num_items, 0.003)
        best = BestEpoch()
        trainer(epochs, best).fit(model, data)
        model.load_state_dict(best.weights)
        save_pretrained(model, path)
    return path


def trainer(epochs: int, best: BestEpoch) -> pl.Trainer:
    """Build a trainer that keeps nothing on the disk."""
    return quiet_trainer(epochs, [best], enable_checkpointing=False, num_sanity_val_steps=0)


def work(settings: Settings, folder: str, source: str, epochs: int = EPOCHS) -> Row:
    """Run one side on one part with one seed."""
    seed, side, place = settings["seed"], settings["side"], Path(folder)
    pretrained = pretrain(place, source, seed, epochs) if side != "scratch" else None
    if side == "pretraining":
        return {}
    start_run(seed)
    data = build_data(place, source, settings["part"], seed)
    model = build_model(data.num_items, settings.get("rate", 0.003))
    row: Row = {}
    if pretrained is not None:
        matching = load_matching(model, load_pretrained(pretrained), data)
        row = {"items": matching.num_items, "matched": matching.num_matched}
    best = BestEpoch()
    if side != "as it is":
        trainer(epochs, best).fit(model, data)
        model.load_state_dict(best.weights)
        row["valid"] = max(best.valid)
    (measured,) = trainer(epochs, best).test(model, data, verbose=False)
    return row | {"recall@50": measured["test/recall@50"]}


def runs() -> list[Settings]:
    """Every run of the table."""
    found: list[Settings] = []
    for seed in SEEDS:
        for part in PARTS:
            found.append({"side": "as it is", "part": part, "seed": seed})
            found += [
                {"side": side, "part": part, "rate": rate, "seed": seed} for side in SIDES for rate in RATES
            ]
    return found


def pretraining_runs() -> list[Settings]:
    """Every pretraining, which the other runs build on."""
    return [{"side": "pretraining", "seed": seed} for seed in SEEDS]


def base_of(settings: Settings) -> str | None:
    """Return the identity of the pretraining that a run builds on, or None."""
    if settings["side"] == "scratch":
        return None
    return identity({"side": "pretraining", "seed": settings["seed"]})

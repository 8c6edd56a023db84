"""The runs: who competes, with which settings, on what data, and how one run is made.

Architectures × losses on MovieLens-100k, leave-one-out. Each loss gets the same number of tuning trials
(TRIALS) on YouTubeDNN, judged by validation NDCG@100 at its best epoch; its best setting is then run on every
architecture with three seeds. Every trial and every run has the same budget of epochs, the same early
stopping and the same regularisation. Items that the user has already seen are never candidates, for the
baselines as for the models.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

import lightning_croloss
from benchmarks.common.rows import Row, Settings
from benchmarks.common.tables import Values, user_values
from benchmarks.common.training import quiet_trainer, start_run
from lightning_croloss import (
    BPRLoss,
    CROLoss,
    CROLossCallback,
    FullCatalogNegatives,
    PowerImportance,
    RecBoleDataModule,
    RetrievalModel,
    SoftmaxLoss,
    TargetNImportance,
    TripletLoss,
)
from lightning_croloss.callbacks import Geometric
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.retrieval import target_ranks

CONFIGS = Path(__file__).parents[2] / "configs" / "ml-100k"
ARCHITECTURES = {"YouTubeDNN": "youtube_dnn", "TwoTower": "two_tower", "MIND": "mind"}
NS = (10, 20, 50, 100)
SEEDS = (1, 2, 3)
EPOCHS = 60
PATIENCE = 6
BATCH = 512
LEARNING_RATE = 0.004

TEMPERATURES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4)
TRIALS: dict[str, list[Settings]] = {
    "SoftmaxLoss": [{"temperature": t} for t in TEMPERATURES],
    "BPRLoss": [{"temperature": t} for t in TEMPERATURES],
    # the margin in units of the score: with Adam nothing else matters
    "TripletLoss": [{"temperature": 1.0, "margin": m} for m in (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8)],
    "CROLoss": [
        {"kernel": "exp", "alpha": 1.2, "temperature": 0.1},
        {"kernel": "exp", "alpha": 1.2, "temperature": 0.14},
        {"kernel": "exp", "alpha": 1.2, "temperature": 0.2},
        {"kernel": "softplus", "alpha": 1.0, "temperature": 0.1, "lambda_weight": 1.0},
        {"kernel": "softplus", "alpha": 1.0, "temperature": 0.2, "lambda_weight": 1.0},
        {"kernel": "sigmoid", "alpha": 1.0, "temperature": 0.05},
        {"kernel": "sigmoid", "alpha": 1.0, "temperature": 0.1},
        {"kernel": "sigmoid", "n": 50, "temperature": 0.1},
    ],
}
#: What n does: everything equal but the N that the loss is told.
TARGETS = (10, 500)


def build_loss(name: str, setting: Settings) -> tuple[RetrievalLoss, list[pl.Callback]]:
    """Build a loss, and the callback that anneals its n."""
    if name != "CROLoss":
        return {"SoftmaxLoss": SoftmaxLoss, "BPRLoss": BPRLoss, "TripletLoss": TripletLoss}[name](
            **setting
        ), []
    setting = dict(setting)
    if "n" in setting:
        n = setting.pop("n")
        # over about ten epochs; a fraction of the training would depend on early stopping
        schedule = CROLossCallback(n=Geometric(start=1000, end=n, until=2000))
        return CROLoss(importance=TargetNImportance(n), **setting), [schedule]
    return CROLoss(importance=PowerImportance(setting.pop("alpha")), **setting), []


def build_model(architecture: str, data: RecBoleDataModule, loss: RetrievalLoss) -> RetrievalModel:
    """Build the architecture of a config file around another loss."""
    config = yaml.safe_load((CONFIGS / f"{ARCHITECTURES[architecture]}.yaml").read_text())
    arguments: dict[str, Any] = config["model"]["init_args"]
    arguments |= {
        "num_items": data.num_items,
        "loss": loss,
        "negatives": FullCatalogNegatives(),
        "ns": NS,
        "exclude_history": True,
        "optimizer": partial(torch.optim.AdamW, lr=LEARNING_RATE, weight_decay=0.01),
    }
    if architecture == "TwoTower":
        arguments |= {
            "num_users": data.num_users,
            "item_features": data.item_feature_specs,
            "user_features": data.user_feature_specs,
        }
    model: RetrievalModel = getattr(lightning_croloss, architecture)(**arguments)
    return model


def build_data(architecture: str, seed: int) -> RecBoleDataModule:
    """Build the data of a config file."""
    config = yaml.safe_load((CONFIGS / f"{ARCHITECTURES[architecture]}.yaml").read_text())
    return RecBoleDataModule(**(config["data"]["init_args"] | {"batch_size": BATCH, "seed": seed}))


def seen_items(data: RecBoleDataModule, part: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows' users (U,), targets (U, 1), and every item they saw before (U, E), padded with 0."""
    events, rows = data.interactions, getattr(data.rows, part)
    users = events.users[rows.first]
    starts = events.user_offsets[users]
    longest = int((rows.first - starts).max())
    places = starts.unsqueeze(1) + torch.arange(longest)
    seen = events.items[places.clamp(max=len(events.items) - 1)] * (places < rows.first.unsqueeze(1))
    return users, events.items[rows.first].unsqueeze(1), seen


def metric(ranks: list[int], name: str, n: int) -> Values:
    """Return the value of each user, who has one target."""
    return user_values(torch.tensor(ranks).unsqueeze(1), name, n)


def ranks_of(model: RetrievalModel, data: RecBoleDataModule, part: str) -> list[int]:
    """Rank every row's target among the items that its user had not seen."""
    model.eval()
    loader = data.val_dataloader() if part == "valid" else data.test_dataloader()
    with torch.no_grad():
        users = torch.cat([model.encode_users(batch) for batch in loader])
        matrix = model.encode_items(None)
    _, targets, seen = seen_items(data, part)
    return [int(rank) for rank in target_ranks(users, matrix, targets, excluded=seen)[:, 0]]


def work(settings: Settings) -> Row:
    """Train, keep the best epoch, and rank: the work of one run."""
    start_run(settings["seed"])
    architecture = settings["architecture"]
    if architecture in ("most popular", "item kNN"):
        return baseline(settings)
    data = build_data(architecture, settings["seed"])
    loss, callbacks = build_loss(settings["loss"], settings["setting"])
    model = build_model(architecture, data, loss)
    folder = Path("runs") / "benchmark" / str(abs(hash(str(settings))))
    best = ModelCheckpoint(dirpath=folder, monitor="val/ndcg@100", mode="max")
    stop = EarlyStopping("val/ndcg@100", mode="max", patience=PATIENCE)
    trainer = quiet_trainer(EPOCHS, [*callbacks, best, stop])
    trainer.fit(model, data)
    model = RetrievalModel.load_from_checkpoint(best.best_model_path, weights_only=True)
    Path(best.best_model_path).unlink()
    valid = ranks_of(model, data, "valid")
    row: Row = {"epochs": trainer.current_epoch, "valid_ndcg@100": float(metric(valid, "NDCG", 100).mean())}
    if settings["purpose"] != "tuning":
        row["ranks"] = ranks_of(model, data, "test")
    return row


def baseline(settings: Settings) -> Row:
    """Most popular, or item-kNN with cosine similarity of the items' users."""
    data = build_data("YouTubeDNN", 0)
    popular = settings["architecture"] == "most popular"
    recent = settings["setting"].get("recent")
    if popular:
        matrix = data.item_counts[1:].float().unsqueeze(1)
    else:
        matrix = neighbourhood(data, settings["setting"]["neighbours"])
    ranks = {}
    for part in ("valid", "test"):
        users, targets, seen = seen_items(data, part)
        vectors = torch.ones(len(users), 1) if popular else recent_items(seen, recent, data.num_items)
        found = target_ranks(vectors.unsqueeze(1), matrix, targets, excluded=seen)
        ranks[part] = [int(rank) for rank in found[:, 0]]
    return {"valid_ndcg@100": float(metric(ranks["valid"], "NDCG", 100).mean()), "ranks": ranks["test"]}


def neighbourhood(data: RecBoleDataModule, neighbours: int) -> Tensor:
    """Return (N, N): at [i, j] the similarity of items i and j if i is among the nearest of j, else 0."""
    events, training = data.interactions, data.rows.training_events
    users_of = torch.zeros(data.num_items, data.num_users + 1)
    users_of[events.items[training] - 1, events.users[training]] = 1.0
    unit = torch.nn.functional.normalize(users_of, dim=1)
    similarity = (unit @ unit.T).fill_diagonal_(0.0)
    kept = similarity.topk(neighbours, dim=1)
    return torch.zeros_like(similarity).scatter_(1, kept.indices, kept.values).T.contiguous()


def recent_items(seen: Tensor, recent: int, num_items: int) -> Tensor:
    """Return (U, N) ones at the last ``recent`` of the items (U, E) that each user saw."""
    lengths = (seen != 0).sum(1, keepdim=True)
    position = torch.arange(seen.shape[1])
    last = seen * (position >= lengths - recent) * (position < lengths)
    return torch.zeros(len(seen), num_items + 1).scatter_(1, last, 1.0)[:, 1:]


def tuning_runs() -> list[Settings]:
    """Every trial of every loss, on YouTubeDNN with one seed."""
    return [
        {"purpose": "tuning", "architecture": "YouTubeDNN", "loss": loss, "setting": setting, "seed": 0}
        for loss, trials in TRIALS.items()
        for setting in trials
    ]


def baseline_runs() -> list[Settings]:
    """Most popular, and as many trials of item-kNN as a loss has."""
    kinds: list[tuple[str, Settings]] = [("most popular", {})]
    kinds += [
        ("item kNN", {"neighbours": k, "recent": recent}) for k in (20, 50, 100, 400) for recent in (10, 1000)
    ]
    return [
        {"purpose": "baseline", "architecture": name, "loss": "", "setting": setting, "seed": 0}
        for name, setting in kinds
    ]


def best_settings(rows: dict[str, Row]) -> dict[str, Settings]:
    """Return the setting of each loss that was best on validation."""
    best: dict[str, Row] = {}
    for row in rows.values():
        settings = row["settings"]
        if settings["purpose"] != "tuning" or settings["setting"] not in TRIALS[settings["loss"]]:
            continue
        leader = best.get(settings["loss"])
        if leader is None or row["valid_ndcg@100"] > leader["valid_ndcg@100"]:
            best[settings["loss"]] = row
    return {loss: row["settings"]["setting"] for loss, row in best.items()}


def final_runs(chosen: dict[str, Settings], architectures: list[str]) -> list[Settings]:
    """Each architecture with each loss, and the two targets, three seeds each."""
    runs = [
        {"purpose": "final", "architecture": architecture, "loss": loss, "setting": setting, "seed": seed}
        for architecture in architectures
        for loss, setting in chosen.items()
        for seed in SEEDS
    ]
    runs += [
        {
            "purpose": "target",
            "architecture": "YouTubeDNN",
            "loss": "CROLoss",
            "setting": {"kernel": "sigmoid", "n": n, "temperature": 0.1},
            "seed": seed,
        }
        for n in TARGETS
        for seed in SEEDS
    ]
    return runs

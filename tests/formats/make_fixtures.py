"""Write what the tests of this folder read: run once by the release whose files are to be kept.

``python tests/formats/make_fixtures.py tests/formats/version_1`` trains one small model of each family from a
config, as a user would, and keeps its checkpoint, its resolved config and its zoo folder; two exports; and a
checkpoint of a model that was built in Python. Never run it over a folder that a release has written: later
releases must go on reading the old one. For a new format version, give it a new folder.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

NUM_USERS, NUM_ITEMS, EVENTS = 48, 32, 8
NS = [2, 5, 10]


def main(folder: Path) -> None:
    """Write the fixtures into a folder that does not exist yet."""
    (folder / "configs").mkdir(parents=True)
    os.chdir(folder)
    write_tables()
    for name, config in configs().items():
        Path(f"configs/{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        build(name)
    export()
    built_in_python()
    shutil.rmtree("work")


def write_tables() -> None:
    """Write events in four clusters, no user having an item twice, and tables of features."""
    random = np.random.default_rng(0)
    clusters = np.arange(NUM_ITEMS).reshape(4, -1)
    lines = ["user,item,time,weight,part"]
    for user in range(NUM_USERS):
        for place, item in enumerate(random.permutation(clusters[user % 4])[:EVENTS]):
            part = "train" if place < EVENTS - 2 else "valid" if place < EVENTS - 1 else "test"
            time = 100 * place + user
            lines.append(f"u{user:02},i{item:02},{time},{1 + user % 2},{part}")
    Path("events.csv").write_text("\n".join(lines) + "\n")
    items = ["item,genre,tags,price,name"]
    for item in range(NUM_ITEMS):
        cluster = item // (NUM_ITEMS // 4)
        items.append(
            f"i{item:02},genre{cluster},about{cluster} new{item % 3},{10 * cluster + item % 3},Item {item}"
        )
    Path("items.csv").write_text("\n".join(items) + "\n")
    users = ["user,country,age"]
    users += [f"u{user:02},country{user % 4},{20 + user % 4}" for user in range(NUM_USERS)]
    Path("users.csv").write_text("\n".join(users) + "\n")


def described(path: str, **arguments: Any) -> dict[str, Any]:
    """Return a class as a config names it."""
    return {"class_path": path, "init_args": arguments} if arguments else {"class_path": path}


def configs() -> dict[str, dict[str, Any]]:
    """Return a config for each family; together they name most classes that a config can."""
    losses = "lightning_croloss.losses"
    models: dict[str, dict[str, Any]] = {
        "youtube_dnn": described(
            "YouTubeDNN",
            hidden_dims=[12],
            loss=described(
                "CROLoss",
                kernel=described(f"{losses}.SoftplusKernel"),
                importance=described("TargetNImportance", n=5),
                lambda_weight=0.5,
            ),
            negatives=described("UniformNegatives", num_negatives=20),
            lr_scheduler=described("lightning.pytorch.cli.ReduceLROnPlateau", monitor="val/recall@5"),
        ),
        "two_tower": described(
            "TwoTower",
            user_hidden_dims=[12],
            loss=described(
                "CROLoss",
                kernel=described(f"{losses}.HingeKernel", margin=0.4),
                importance=described("PowerImportance", alpha=1.2),
            ),
            negatives=described(
                "MixedNegatives",
                parts=[described("InBatchNegatives"), described("UniformNegatives", num_negatives=10)],
            ),
            use_user_id=True,
        ),
        "mind": described(
            "MIND",
            hidden_dims=[12],
            num_interests=2,
            loss=described(
                "CROLoss",
                kernel=described(f"{losses}.SigmoidKernel"),
                importance=described(f"{losses}.ExponentialImportance", rate=0.5),
            ),
            negatives=described("FullCatalogNegatives"),
        ),
        "comirec_sa": described(
            "ComiRecSA",
            num_interests=2,
            num_positions=6,
            loss=described("TripletLoss", margin=0.6),
            negatives=described("PopularityNegatives", num_negatives=20, exponent=0.5),
        ),
        "comirec_dr": described(
            "ComiRecDR",
            num_interests=2,
            num_positions=6,
            loss=described("BPRLoss", temperature=0.2),
            negatives=described("InBatchNegatives"),
        ),
        "gru4rec": described(
            "GRU4Rec",
            hidden_dims=[12],
            loss=described("SoftmaxLoss", temperature=0.14),
            negatives=described("UniformNegatives", num_negatives=20, exclude_known_positives=True),
            optimizer=described("LazyAdam", lr=0.01),
        ),
        "sasrec": described(
            "SASRec",
            num_heads=1,
            feedforward_dim=16,
            max_length=10,
            train_on="all",
            loss=described(
                "CROLoss",
                kernel=described(f"{losses}.PSLTanhKernel", score_temperature=1.5),
                importance=described(f"{losses}.GammaImportance", concentration=1.5),
            ),
            negatives=described("FullCatalogNegatives"),
        ),
        "matrix_factorization": described(
            "MatrixFactorization",
            loss=described(
                "CROLoss",
                kernel="exp",
                importance=described("PowerImportance", alpha=0.8),
                lambda_weight=1.0,
                lambda_kernel=described(f"{losses}.HeavisideKernel"),
            ),
            negatives=described("UniformNegatives", num_negatives=20),
        ),
    }
    callbacks = "lightning_croloss.callbacks"
    schedules = {
        "youtube_dnn": {"n": described(f"{callbacks}.Geometric", start=20, end=5)},
        "two_tower": {"alpha": described(f"{callbacks}.Linear", start=1.0, end=1.4)},
        "mind": {"temperature": described(f"{callbacks}.Cosine", start=0.2, end=0.1)},
        "sasrec": {"temperature": described(f"{callbacks}.Steps", values=[0.2, 0.1], milestones=[0.5])},
    }
    splits = {
        "youtube_dnn": described("Predefined", column="part"),
        "mind": described("UserDisjoint", train=0.6, valid=0.2, test=0.2, history=0.5),
        "comirec_sa": described("PerUserRatio", train=0.5, valid=0.25, test=0.25),
        "gru4rec": described("GlobalTime", valid=500, test=600),
        "sasrec": described("LeaveOneOut"),
    }
    return {
        name: config(name, model, schedules.get(name), splits.get(name)) for name, model in models.items()
    }


def config(
    name: str, model: dict[str, Any], schedule: dict[str, Any] | None, split: dict[str, Any] | None
) -> dict[str, Any]:
    """Return a whole config."""
    arguments = model["init_args"]
    arguments |= {"embedding_dim": 8, "ns": NS}
    arguments.setdefault("optimizer", described("AdamW", lr=0.01))
    data: dict[str, Any] = {
        "interactions": "events.csv",
        "user_column": "user",
        "item_column": "item",
        "time_column": "time",
        "weight_column": "weight",
        "max_history": 6,
        "batch_size": 16,
    }
    if split:
        data["split"] = split
    if name in ("youtube_dnn", "two_tower", "comirec_sa"):
        data |= {
            "items": "items.csv",
            "item_features": ["genre", "tags:multi", "price:numeric"],
            "title_column": "name",
        }
    if name in ("youtube_dnn", "two_tower"):
        data |= {"users": "users.csv", "user_features": ["country", "age:numeric"]}
    callbacks: list[dict[str, Any]] = [described("CROLossCallback", **schedule)] if schedule else []
    callbacks += [
        described(
            "ModelCheckpoint",
            monitor="val/recall@5",
            mode="max",
            filename="best",
            save_last=True,
            auto_insert_metric_name=False,
        ),
        described("RecallReport", plot=False),
    ]
    return {
        "seed_everything": 7,
        "data": described("TableDataModule", **data),
        "model": model,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 3,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": described("CSVLogger", save_dir="work", name=name, version=""),
            "callbacks": callbacks,
        },
    }


def build(name: str) -> None:
    """Train a model and keep what the run and the zoo wrote."""
    from lightning_croloss.cli import main as croloss

    croloss(["zoo", "build", "--config", f"configs/{name}.yaml", "--name", f"small/{name}", "--zoo", "zoo"])
    Path(f"fits/{name}").mkdir(parents=True)
    shutil.copy(f"work/{name}/config.yaml", f"fits/{name}/config.yaml")
    shutil.copy(f"work/{name}/checkpoints/best.ckpt", f"fits/{name}/best.ckpt")


def export() -> None:
    """Keep exports of two models, one with titles, features and an index."""
    from lightning_croloss.cli import main as croloss

    for name, index in (("youtube_dnn", ["--index", "flat"]), ("gru4rec", [])):
        croloss(["export", "--model", f"zoo/small/{name}", "--output", f"exports/{name}", *index])


def built_in_python() -> None:
    """Keep a checkpoint of a model that no config describes, with the state of LazyAdam."""
    import lightning.pytorch as pl
    from lightning_croloss.models.lazy_adam import LazyAdam

    import lightning_croloss as lc

    pl.seed_everything(7)
    data = lc.TableDataModule("events.csv", user_column="user", item_column="item", time_column="time")
    model = lc.YouTubeDNN(
        data.num_items,
        embedding_dim=8,
        hidden_dims=[12],
        loss=lc.CROLoss(importance=lc.TargetNImportance(5)),
        negatives=lc.PopularityNegatives(20),
        optimizer=functools.partial(LazyAdam, lr=0.01),
        sparse_gradients=True,
        ns=NS,
    )
    quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, **quiet)
    trainer.fit(model, data)
    trainer.save_checkpoint("fits/built_in_python.ckpt")


if __name__ == "__main__":
    target = Path(sys.argv.pop())
    main(target)

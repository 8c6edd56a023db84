"""Configs as a user writes them, of the parts in which those of one set differ."""

from __future__ import annotations

from typing import Any

NS = [2, 5, 10]

Config = dict[str, Any]


def described(path: str, **arguments: Any) -> Config:
    """Return a class as a config names it."""
    return {"class_path": path, "init_args": arguments} if arguments else {"class_path": path}


def whole_config(
    name: str,
    model: Config,
    *,
    keeps: Config,
    data: Config | None = None,
    callbacks: list[Config] | None = None,
    trainer: Config | None = None,
) -> Config:
    """Return a whole config.

    Args:
        name: of the run.
        model: its class and arguments.
        keeps: arguments of ``ModelCheckpoint``, whose checkpoint is kept.
        data: arguments of the data, besides the columns.
        callbacks: what else is called back.
        trainer: arguments of the trainer, in place of those here.
    """
    arguments = {**model["init_args"], "embedding_dim": 8, "ns": NS}
    arguments.setdefault("optimizer", described("AdamW", lr=0.01))
    columns = {f"{column}_column": column for column in ("user", "item", "time", "weight")}
    return {
        "seed_everything": 7,
        "data": described(
            "TableDataModule",
            interactions="events.csv",
            **columns,
            **{"max_history": 6, "batch_size": 16, **(data or {})},
        ),
        "model": {**model, "init_args": arguments},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 3,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": described("CSVLogger", save_dir="work", name=name, version=""),
            **(trainer or {}),
            "callbacks": [
                *(callbacks or []),
                described("ModelCheckpoint", **keeps, auto_insert_metric_name=False),
                described("RecallReport", plot=False),
            ],
        },
    }


#: What data say of the tables of features.
OF_ITEMS: Config = {
    "items": "items.csv",
    "item_features": ["genre", "tags:multi", "price:numeric"],
    "title_column": "name",
}
OF_USERS: Config = {"users": "users.csv", "user_features": ["country", "age:numeric"]}

"""Which runs there are: recipes on one seed, then the search of each side, then its choice on three seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.published.sides import SIDES

SEEDS = (1, 2, 3)
#: Length of the fits of a search, and of what is tested.
EPOCHS = 20

#: What recipes are tried with: neither side's alone.
TRIAL_LOSSES: dict[str, Settings] = {
    "CROLoss": {
        "class_path": "CROLoss",
        "init_args": {"kernel": "exp", "alpha": 1.2, "temperature": 0.14},
    },
    "softmax": {"class_path": "SoftmaxLoss", "init_args": {"temperature": 0.14}},
}
#: More regularisation than the published recipe has, which is meant for a loss over few negatives.
STRONG: Settings = {"num_blocks": 2, "num_heads": 2, "dropout": 0.5, "history_dropout": 0.3}
#: The same with the items smoothed along the graph of those that stand near them in training.
SMOOTHED: Settings = STRONG | {"item_graph_weight": 1.0}
#: The same, with a high rate that falls to none.
FALLING: Settings = SMOOTHED | {"learning_rate": 0.002, "cosine": True}
WIDE: Settings = FALLING | {"embedding_dim": 128}
#: Departures from the published recipe, each with its number of epochs.
RECIPES: tuple[tuple[Settings, int], ...] = (
    ({}, 40),
    ({"history_dropout": 0.3}, 40),
    (STRONG, 40),
    (SMOOTHED, 40),
    (FALLING, 30),
    (WIDE, 30),
    (WIDE | {"history_dropout": 0.5, "learning_rate": 0.001}, 24),
    (SMOOTHED | {"embedding_dim": 128, "learning_rate": 0.001, "average": 0.999}, 20),
    (WIDE | {"learning_rate": 0.004}, 20),
)
#: The recipe that searches and tests have, for both architectures and data sets: the best of the trials.
CHOSEN: Settings = WIDE | {"learning_rate": 0.004}


def trials(data: str, architecture: str, side: str) -> list[Settings]:
    """Return the trials of the recipes."""
    return [
        _run("recipe", data, architecture, recipe, 0, epochs, side=side, loss=TRIAL_LOSSES[side])
        for recipe, epochs in RECIPES
    ]


def searches(data: str, architecture: str) -> list[Settings]:
    """Return the search of each side."""
    return [_run("tune", data, architecture, CHOSEN, 0, EPOCHS, side=side) for side in SIDES]


def finals(rows: Mapping[str, Row], data: str, architecture: str) -> list[Settings]:
    """Return what each search chose, with each seed: those whose search has ended."""
    found = [
        (run["side"], rows[identity(run)]["loss"])
        for run in searches(data, architecture)
        if identity(run) in rows
    ]
    return [
        _run("final", data, architecture, CHOSEN, seed, EPOCHS, side=side, loss=loss)
        for seed in SEEDS
        for side, loss in found
    ]


def _run(
    purpose: str, data: str, architecture: str, recipe: Settings, seed: int, epochs: int, **more: Any
) -> Settings:
    return {
        "purpose": purpose,
        "data": data,
        "architecture": architecture,
        "recipe": recipe,
        "seed": seed,
        "epochs": epochs,
        **more,
    }

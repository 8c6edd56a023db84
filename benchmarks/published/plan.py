"""Which runs there are: recipes on one seed, then the search of each side, then its choice on three seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.published.sides import ARCHITECTURES, SIDES

SEEDS = (1, 2, 3)
#: Lengths of the trials of a recipe, of a search's fits, and of what is tested.
TRIAL_EPOCHS, SEARCH_EPOCHS, FINAL_EPOCHS = 40, 60, 200

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
#: Departures from the published recipe.
RECIPES: tuple[Settings, ...] = (
    {},
    {"history_dropout": 0.3},
    STRONG,
    STRONG | {"item_graph_weight": 0.5},
    SMOOTHED,
    SMOOTHED | {"learning_rate": 0.002},
    SMOOTHED | {"embedding_dim": 128},
    SMOOTHED | {"average": 0.999},
)
#: Data set -> architecture -> the recipe that searches and tests have; the best of the trials.
CHOSEN: dict[str, dict[str, Settings]] = {
    "beauty": {architecture: {"history_dropout": 0.3} for architecture in ARCHITECTURES},
    "toys": {architecture: {"history_dropout": 0.3} for architecture in ARCHITECTURES},
}


def trials(data: str, architecture: str, side: str) -> list[Settings]:
    """Return the trials of the recipes."""
    return [
        _run("recipe", data, architecture, recipe, 0, TRIAL_EPOCHS, side=side, loss=TRIAL_LOSSES[side])
        for recipe in RECIPES
    ]


def searches(data: str, architecture: str) -> list[Settings]:
    """Return the search of each side."""
    recipe = CHOSEN[data][architecture]
    return [_run("tune", data, architecture, recipe, 0, SEARCH_EPOCHS, side=side) for side in SIDES]


def finals(rows: Mapping[str, Row], data: str, architecture: str) -> list[Settings]:
    """Return what each search chose, with each seed: those whose search has ended."""
    recipe = CHOSEN[data][architecture]
    found = [
        (run["side"], rows[identity(run)]["loss"])
        for run in searches(data, architecture)
        if identity(run) in rows
    ]
    return [
        _run("final", data, architecture, recipe, seed, FINAL_EPOCHS, side=side, loss=loss)
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

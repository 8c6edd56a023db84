"""The frameworks, and the protocol that all of them follow.

``python -m benchmarks.swap plain_two_tower`` runs the file ``plain_two_tower.py`` of this folder. It has

- ``FRAMEWORK``: what the table calls it;
- ``LOSSES``: for each loss, by the name that the table gives it, the number of lines that were changed to
  have it; the first one is the framework's own, with 0 lines;
- ``TEMPERATURES`` (optional): the grid of both sides; :data:`TEMPERATURES` here by default;
- ``run(split, loss, temperature, seed)``: trains and returns scores (U, num_items) of items 1 … num_items
  for the histories of validation (``split.train``) and for those of the test (``split.test_histories``).
  What the framework needs is imported inside, so that the table can be written where it is not installed.

Both sides train with the same model, batches, optimizer and number of epochs: the loss is the only
difference, and the temperature is tuned for each on the same grid, by validation Recall@50 of seed 0. A
loss without a temperature is given the grid all the same. The test figures are of the chosen temperature
with seeds 0, 1 and 2. What a user has rated already is not a candidate, for either side: nobody in the
data rates a film twice.
"""

from __future__ import annotations

import time
from importlib import import_module
from types import ModuleType

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.common.training import start_run
from benchmarks.swap.data import load, recall

TEMPERATURES = (0.05, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5, 1.0)
SEEDS = (0, 1, 2)


def framework(name: str) -> ModuleType:
    """Import the file of a framework."""
    return import_module(f"benchmarks.swap.{name}")


def temperatures(module: ModuleType) -> tuple[float, ...]:
    """Return the grid of a framework."""
    return tuple(getattr(module, "TEMPERATURES", TEMPERATURES))


def work(settings: Settings) -> Row:
    """Train once, and measure validation and test."""
    start_run(settings["seed"])
    split = load()
    begin = time.perf_counter()
    run = framework(settings["framework"]).run
    valid, test = run(split, settings["loss"], settings["temperature"], settings["seed"])
    seconds = time.perf_counter() - begin
    assert valid.shape == test.shape == (split.num_users, split.num_items)
    return {
        "seconds": round(seconds, 1),
        "valid": recall(valid, split.valid_targets, exclude=split.train),
        "test": recall(test, split.test_targets, exclude=split.test_histories),
    }


def tuning_runs(name: str, losses: list[str] | None = None) -> list[Settings]:
    """Every temperature of every loss, or of some, with seed 0."""
    module = framework(name)
    return [
        {"framework": name, "loss": loss, "temperature": temperature, "seed": 0}
        for temperature in temperatures(module)
        for loss in losses or module.LOSSES
    ]


def chosen(rows: dict[str, Row], name: str, loss: str) -> float | None:
    """Return the temperature that is best by validation Recall@50 of seed 0; None if nothing was run."""
    wanted = [identity(run) for run in tuning_runs(name, [loss])]
    tried = [rows[run] for run in wanted if run in rows]
    if not tried:
        return None
    best = max(tried, key=lambda row: float(row["valid"]["recall@50"]))  # of equals the smaller temperature
    return float(best["settings"]["temperature"])


def final_runs(rows: dict[str, Row], name: str, losses: list[str] | None = None) -> list[Settings]:
    """The chosen temperature of each loss with every seed."""
    best = {loss: chosen(rows, name, loss) for loss in losses or framework(name).LOSSES}
    return [
        {"framework": name, "loss": loss, "temperature": temperature, "seed": seed}
        for seed in SEEDS
        for loss, temperature in best.items()
        if temperature is not None
    ]

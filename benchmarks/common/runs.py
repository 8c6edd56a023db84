"""Runs of a comparison: declared as settings, executed once each, kept as rows.

A comparison declares its runs as plain dictionaries. :func:`execute` runs those that have no row yet, several
processes side by side, and appends one row a run: stop it whenever you like and start it again.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from lightning_croloss import RetrievalModel

Settings = dict[str, Any]
Row = dict[str, Any]


def identity(settings: Settings) -> str:
    """Return the text that tells one run from another."""
    return json.dumps(settings, sort_keys=True)


def rows_of(path: Path) -> dict[str, Row]:
    """Read the rows of finished runs, by identity; a last line cut off by a crash is dropped."""
    rows = {}
    if path.exists():
        lines = path.read_text().split("\n")
        for line in lines[:-1]:  # a whole line ends in a newline
            row = json.loads(line)
            rows[identity(row["settings"])] = row
    return rows


def execute(
    runs: Iterable[Settings], work: Callable[[Settings], Row], path: Path, processes: int = 2
) -> dict[str, Row]:
    """Run what has no row yet and return the rows of all.

    Args:
        runs: the settings of each run, of plain types.
        work: a function at the top of a module, from settings to results.
        path: JSON lines, one row a run: ``{"settings": ..., **results}``.
        processes: how many runs side by side, each on one thread.
    """
    done = rows_of(path)
    waiting = [run for run in {identity(run): run for run in runs}.values() if identity(run) not in done]
    if not waiting:
        return done
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():  # drop a line that was cut off
        path.write_text("".join(json.dumps(row) + "\n" for row in done.values()))
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(processes) as pool, path.open("a") as file:
        finished = pool.imap_unordered(_Work(work), waiting)
        for number, row in enumerate(finished, start=1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            done[identity(row["settings"])] = row
            print(f"{number}/{len(waiting)}  {identity(row['settings'])}", flush=True)
    return done


class _Work:
    """Joins settings and results; a class, because it must travel to another process."""

    def __init__(self, work: Callable[[Settings], Row]) -> None:
        self.work = work

    def __call__(self, settings: Settings) -> Row:
        return {"settings": settings, **self.work(settings)}


def start_run(seed: int) -> None:
    """Make the process quiet, single-threaded and seeded: the beginning of each run."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    pl.seed_everything(seed, verbose=False)


def quiet_trainer(epochs: int, callbacks: list[pl.Callback], **arguments: Any) -> pl.Trainer:
    """Build a trainer on the CPU that logs and prints nothing."""
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


class BestEpoch(pl.Callback):
    """Keeps a validation metric after every epoch, and the weights of the best.

    Args:
        metric: name of the metric, without "val/".
    """

    def __init__(self, metric: str = "recall@50") -> None:
        self.metric = metric
        self.valid: list[float] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the figure, and the weights if it is the best so far."""
        assert isinstance(pl_module, RetrievalModel)
        value = float(pl_module.metrics["val"].compute()[self.metric])
        if all(value > earlier for earlier in self.valid):
            self.weights = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}
        self.valid.append(value)


def paired_bootstrap(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], samples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Compare two methods on the same users.

    Args:
        ours: (users,) value of each user, averaged over seeds.
        theirs: (users,) the same of the other method.
        samples: number of resamples of the users.
        seed: seed of the resampling.

    Returns:
        The mean difference and the ends of its 95 % interval.
    """
    difference = ours - theirs
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(difference), (samples, len(difference)))
    means = difference[picks].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)

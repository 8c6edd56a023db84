"""What the processes of a search do: measure a fit, train it up to a step, test it.

Each is given the file of an ordinary config, from which ``croloss fit`` would make the same run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.cli.tune.clocks import Deadline, Stopwatch
from lightning_croloss.cli.tune.failures import is_of_the_machine, sentence_about
from lightning_croloss.cli.tune.run_cli import built_run, leave_reports
from lightning_croloss.cli.tune.runs import BEST, CHECKPOINTS
from lightning_croloss.cli.tune.tested import test, test_users
from lightning_croloss.training.run_versions import own_versions
from lightning_croloss.tuning.by_the_clock import ByTheClock
from lightning_croloss.tuning.falling_rate import FallingRate
from lightning_croloss.tuning.length import measure_length
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.records import write_record
from lightning_croloss.tuning.segment import train_segment


def measure(config: str, metric: str = "recall") -> dict[str, Any]:
    """Return the length of a fit, and the size of its catalogue.

    Args:
        config: the file of a config.
        metric: what its validation must log, at the N that the config's own model measures at: those of the
            search are checked against the catalogue once its size is known.
    """
    cli = built_run(config)
    leave_reports(cli.trainer)
    wanted = Objective(metric, {min(cli.model.metrics["val"].ns): 1.0})
    length = measure_length(cli.trainer, cli.model, cli.datamodule, [wanted])
    return {
        "steps": length.steps,
        "validations": list(length.validations),
        "validation_batches": length.validation_batches,
        "resumable": None if length.resumable is None else list(length.resumable),
        "batches_per_epoch": length.epoch,
        "num_items": int(cli.model.num_items),
        "known_users": bool(cli.model.needs_known_users),
    }


def speed(config: str, seconds: float) -> dict[str, float]:
    """Train for a moment, and validate once.

    Args:
        config: the file of a config.
        seconds: how long the training may take.

    Returns:
        The seconds of a training step, of a validation, and of all that a run does besides.
    """
    began = time.monotonic()
    cli = built_run(config)
    leave_reports(cli.trainer)
    watch = Stopwatch(seconds)
    trainer = cli.trainer
    trainer.callbacks.append(watch)  # type: ignore[attr-defined]
    trainer.num_sanity_val_steps = 0
    with own_versions(trainer):
        trainer.fit(cli.model, datamodule=cli.datamodule)
    middle = time.monotonic()
    trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)
    end = time.monotonic()
    step = watch.step()
    other = middle - began - step * watch.steps
    return {"step": step, "validation": end - middle, "other": max(0.0, other)}


def train(
    config: str,
    step: int | None,
    save: str,
    resume: str | None = None,
    before: Mapping[str, Any] | None = None,
    deadline: float | None = None,
) -> dict[str, Any]:
    """Train a run from where it stands up to a step, and say how it stands then.

    Args:
        config: the file of its config.
        step: number of training steps since its beginning; None trains it to its end.
        save: where it is saved, to go on from there.
        resume: where it was saved before.
        before: what was returned then.
        deadline: the time, in seconds since 1970, at which training is to end; None if it may take its time.
    """
    cli = built_run(config)
    trainer = cli.trainer
    if step is not None:
        leave_reports(trainer)
    if deadline is not None:
        trainer.callbacks.append(Deadline(deadline))  # type: ignore[attr-defined]
    with own_versions(trainer, resume is not None):
        outcome = train_segment(
            trainer,
            cli.model,
            cli.datamodule,
            step=step,
            save=Path(save),
            resume=None if resume is None else Path(resume),
            before=None if before is None else Outcome.from_plain(before),
        )
    if outcome.finished:
        _note_best(trainer, Path(config).parent)
    return outcome.to_plain()


def train_for(
    config: str,
    seconds: float,
    objective: Mapping[str, Any],
    save: str,
    resume: str | None = None,
    trained: float = 0.0,
    validations: Sequence[tuple[int, float]] = (),
    validation: float = 0.0,
    at_most: float | None = None,
    steps: int | None = None,
    falling: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Train a run from where it stands, validate it, and save it, in so many seconds altogether.

    Args:
        config: the file of its config, by which it never validates itself.
        seconds: how long all of it may take.
        objective: what is looked for, as plain values.
        save: where it is saved, to go on from there.
        resume: where it was saved before.
        trained: seconds that it was trained before.
        validations: its validations before, the training steps before each and what it reached.
        validation: seconds of a validation, if they are known.
        at_most: seconds that it may take instead, so that training takes as long as what comes before it.
        steps: training steps in all after which it ends too; None does not end it.
        falling: the steps between which the learning rate falls to none; such a run does not end because it
            gains no more. None leaves the rate as it is.

    Returns:
        The steps so far and of an epoch, all validations, whether it gains no more, and the seconds of
        training, of a validation, and of all that each such call takes besides training.
    """
    began = time.monotonic()
    weights = {int(n): float(weight) for n, weight in objective["weights"].items()}
    wanted = Objective(objective["metric"], weights)
    cli = built_run(config)
    trainer = cli.trainer
    leave_reports(trainer)
    latest = None if at_most is None else began + at_most
    clock = ByTheClock(
        began + seconds,
        wanted,
        trained,
        validations,
        validation,
        latest,
        began,
        steps=steps,
        settles=falling is None,
    )
    trainer.callbacks.insert(0, clock)  # type: ignore[attr-defined]
    if falling is not None:
        trainer.callbacks.append(FallingRate(*falling))  # type: ignore[attr-defined]
    with own_versions(trainer, resume is not None):
        outcome = train_segment(
            trainer,
            cli.model,
            cli.datamodule,
            step=None,
            save=Path(save),
            resume=None if resume is None else Path(resume),
            until=lambda: clock.over,
        )
    _note_best(trainer, Path(config).parent)
    again = (len(clock.validations) - len(validations) - 1) * clock.validation
    return {
        "step": outcome.step,
        "epoch": int(trainer.num_training_batches),
        "validations": clock.validations,
        "settled": clock.settled,
        "trained": clock.trained,
        "validation": clock.validation,
        "besides": max(0.0, time.monotonic() - began - clock.trained - again),
    }


def end_runs() -> None:
    """End the run of W&B that is open in this process, which the next one would take for its own."""
    if (wandb := sys.modules.get("wandb")) is not None and wandb.run is not None:
        wandb.finish()


def _note_best(trainer: Trainer, folder: Path) -> None:
    """Write down the best checkpoint by each metric; of a run that kept none, its last weights."""
    callbacks = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    best = {str(each.monitor): each.best_model_path for each in callbacks[::-1] if each.best_model_path}
    for each in callbacks:
        if str(each.monitor) not in best and each.monitor is not None:
            path = folder / CHECKPOINTS / "end.ckpt"
            trainer.save_checkpoint(path)
            best[str(each.monitor)] = str(path)
    content = {monitor: os.path.relpath(path, folder) for monitor, path in best.items()}
    write_record(folder / BEST, content)


__all__ = [
    "end_runs",
    "is_of_the_machine",
    "measure",
    "sentence_about",
    "speed",
    "test",
    "test_users",
    "train",
    "train_for",
]

"""What the processes of a search do: measure a fit, train it up to a step, test it.

Each is given the file of an ordinary config, from which ``croloss fit`` would make the same run.
"""

from __future__ import annotations

import errno
import gc
import itertools
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback

from lightning_croloss.callbacks import RecallReport
from lightning_croloss.cli.errors import explained, meant_for_user, root_cause
from lightning_croloss.cli.lightning_cli import CROLossCLI
from lightning_croloss.cli.tune_runs import BEST, CHECKPOINTS
from lightning_croloss.common.files import write_atomically
from lightning_croloss.models.evaluation import ExactEvaluation
from lightning_croloss.training.run_versions import own_versions
from lightning_croloss.tuning.by_the_clock import ByTheClock
from lightning_croloss.tuning.length import measure_length
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.segment import RungReached, train_segment

#: Steps after which the speed of training is known.
ENOUGH = 60
#: A full disk, one that is read-only or broken, and too many open files.
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE)


class RunCLI(CROLossCLI):
    """Builds what ``croloss fit`` builds, and runs nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        self.before_fit()


def measure(config: str, metric: str = "recall") -> dict[str, Any]:
    """Return the length of a fit, and the size of its catalogue.

    Args:
        config: the file of a config.
        metric: what its validation must log, at the N that the config's own model measures at: those of the
            search are checked against the catalogue once its size is known.
    """
    cli = RunCLI(["fit", "--config", config])
    _leave_reports(cli.trainer)
    wanted = Objective(metric, {min(cli.model.metrics["val"].ns): 1.0})
    length = measure_length(cli.trainer, cli.model, cli.datamodule, [wanted])
    return {
        "steps": length.steps,
        "validations": list(length.validations),
        "validation_batches": length.validation_batches,
        "resumable": None if length.resumable is None else list(length.resumable),
        "num_items": int(cli.model.num_items),
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
    cli = RunCLI(["fit", "--config", config])
    _leave_reports(cli.trainer)
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
    cli = RunCLI(["fit", "--config", config])
    trainer = cli.trainer
    if step is not None:
        _leave_reports(trainer)
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

    Returns:
        The steps so far and of an epoch, all validations, whether it gains no more, and the seconds of
        training, of a validation, and of all that each such call takes besides training.
    """
    began = time.monotonic()
    weights = {int(n): float(weight) for n, weight in objective["weights"].items()}
    wanted = Objective(objective["metric"], weights)
    cli = RunCLI(["fit", "--config", config])
    trainer = cli.trainer
    _leave_reports(trainer)
    latest = None if at_most is None else began + at_most
    clock = ByTheClock(began + seconds, wanted, trained, validations, validation, latest, began, steps=steps)
    trainer.callbacks.insert(0, clock)  # type: ignore[attr-defined]
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


def test_users(config: str, checkpoint: str, names: Mapping[str, float]) -> dict[str, Any]:
    """Return what the test measures of a checkpoint, and for each user in the order of the rows.

    Args:
        config: the file of a config.
        checkpoint: the file of the checkpoint.
        names: the metrics of which a user's value is the weighted sum, without the name of the part.
    """
    cli = RunCLI(["fit", "--config", config])
    _leave_reports(cli.trainer)
    users = _Users(names)
    cli.trainer.callbacks.append(users)  # type: ignore[attr-defined]
    return {
        "metrics": _tested(cli, checkpoint),
        "users": [value for part in users.values for value in part.tolist()],
    }


class _Users(Callback):
    """Keeps a value of each user that a test measures."""

    def __init__(self, names: Mapping[str, float]) -> None:
        self.values: list[torch.Tensor] = []
        self._names = names

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, ExactEvaluation)
        for ranks in outputs["ranks"]:
            values = pl_module.user_metrics(ranks)
            total = sum(share * values[name].double() for name, share in self._names.items())
            assert isinstance(total, torch.Tensor)
            self.values.append(total.cpu())


def test(config: str, checkpoint: str) -> dict[str, float]:
    """Return what the test measures of a checkpoint."""
    return _tested(RunCLI(["fit", "--config", config]), checkpoint)


def _tested(cli: RunCLI, checkpoint: str) -> dict[str, float]:
    """Run the test of a checkpoint, and return what it measures."""
    trainer = cli.trainer
    with own_versions(trainer, True):
        trainer.test(
            cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True
        )
    return {
        name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")
    }


def end_runs() -> None:
    """End the run of W&B that is open in this process, which the next one would take for its own."""
    if (wandb := sys.modules.get("wandb")) is not None and wandb.run is not None:
        wandb.finish()


def sentence_about(error: BaseException) -> str:
    """Return in one sentence what went wrong, and free the memory of what did."""
    if isinstance(error, SystemExit):
        return "its config was refused"
    cause = explained(root_cause(error))
    text = " ".join(str(cause).split()) or type(cause).__name__
    error.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return text if meant_for_user(cause) else f"{type(cause).__name__}: {text}"


def is_of_the_machine(error: BaseException) -> bool:
    """Tell what any setting would have met, such as a full disk, from what is wrong with one."""
    cause = root_cause(error)
    return isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE


class Stopwatch(Callback):
    """Ends a fit, before its first validation, once the time of a step is known.

    Args:
        seconds: how long it may take at most.
    """

    def __init__(self, seconds: float) -> None:
        self.steps = 0
        self._seconds = seconds
        self._times: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock."""
        self.steps += 1
        self._times.append(time.monotonic())
        if self.steps >= ENOUGH or self._times[-1] - self._times[0] > self._seconds:
            raise RungReached

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End here; the validation is measured apart."""
        if trainer.state.fn == "fit":
            raise RungReached

    def step(self) -> float:
        """Return the seconds of a step: the median, as the first ones take longer."""
        between = [later - earlier for earlier, later in itertools.pairwise(self._times)]
        return statistics.median(between) if between else 0.0


class Deadline(Callback):
    """Ends a fit at a time.

    Args:
        seconds: since 1970.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock; the fit validates once more before it ends."""
        if time.time() > self._seconds:
            trainer.should_stop = True


def _leave_reports(trainer: Trainer) -> None:
    """Print, draw and write nothing of a run that has not ended."""
    left_out = (RecallReport, SaveConfigCallback)
    trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, left_out)]  # type: ignore[attr-defined]


def _note_best(trainer: Trainer, folder: Path) -> None:
    """Write down the best checkpoint by each metric; of a run that kept none, its last weights."""
    callbacks = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    best = {str(each.monitor): each.best_model_path for each in callbacks[::-1] if each.best_model_path}
    for each in callbacks:
        if str(each.monitor) not in best and each.monitor is not None:
            path = folder / CHECKPOINTS / "end.ckpt"
            trainer.save_checkpoint(path)
            best[str(each.monitor)] = str(path)
    write_atomically(folder / BEST, json.dumps(best).encode())


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

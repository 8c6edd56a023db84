"""The length of a fit, found by beginning one that trains nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import _TunerExitException

from lightning_croloss.training.averaged_checkpoint import averages_of
from lightning_croloss.training.steps import batches_a_step
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.plan import FitLength
from lightning_croloss.tuning.segment import Data, fit_arguments


def measure_length(
    trainer: Trainer, module: LightningModule, data: Data, objectives: Sequence[Objective] = ()
) -> FitLength:
    """Return how long a fit is and when it validates; what is wrong with its settings shows here already.

    Loads the data and does the sanity check of the validation, but no training step.

    Args:
        trainer: a trainer as it would fit; it is used up.
        module: a module as it would be trained; it is used up.
        data: what ``trainer.fit`` is given.
        objectives: what validation must log.

    Raises:
        ValueError: the fit has no end, never validates, uses several devices, depends on the time, or cannot
            be taken up; or validation does not log what is looked for.
    """
    if trainer.world_size > 1:
        raise ValueError(
            f"tuning trains each candidate on one device, and the trainer has {trainer.world_size}: set "
            "devices=1"
        )
    if any(isinstance(callback, Timer) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        raise ValueError("max_time makes the outcome of a fit depend on timing: set max_epochs or max_steps")
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        raise ValueError("a dry run keeps no checkpoint to choose from: leave fast_dev_run out")
    if averages_of(trainer):  # in the model only after the last validation
        rank_zero_warn(
            "StochasticWeightAveraging averages the weights when a fit is over, and tune keeps those of the "
            "best validation: its model will not be averaged. EMAWeightAveraging averages for each validation"
        )
    begin = _Begin(objectives)
    trainer.num_sanity_val_steps = 1
    trainer.callbacks.append(begin)  # type: ignore[attr-defined]
    trainer.fit(module, **fit_arguments(data))
    if begin.length is None:
        raise ValueError("the fit ends before its first step: is limit_train_batches or max_epochs 0?")
    return begin.length


class _Begun(_TunerExitException):
    pass


class _Begin(Callback):
    """Ends a fit before its first step, when its length is known."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.length: FitLength | None = None
        self._objectives = objectives

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for objective in self._objectives:
            objective.check_logged(trainer.callback_metrics)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.length = _length(trainer)
        raise _Begun


def _length(trainer: Trainer) -> FitLength:
    loop: Any = trainer.fit_loop
    of_epoch = loop.max_batches
    if math.isinf(of_epoch):
        raise ValueError(
            "an epoch of the training data has no known length, so rungs have no place in it: set "
            "limit_train_batches to a number of batches"
        )
    steps = _steps(trainer, int(of_epoch))
    validations = _validations(trainer, steps, int(of_epoch))
    of_validation = sum(trainer.num_val_batches) if trainer.enable_validation else 0
    if math.isinf(of_validation):
        raise ValueError(
            "the validation data have no known length, by which the cost is counted: set limit_val_batches "
            "to a number of batches"
        )
    batches = int(of_validation)
    if not batches:
        raise ValueError(
            "the fit has no validation, by which candidates are judged: give validation data, and leave "
            "limit_val_batches=0 out"
        )
    loaders = loop._combined_loader.flattened
    anywhere = all(hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict") for loader in loaders)
    if not anywhere and any(_draws_itself(loader) for loader in loaders):
        raise ValueError(
            "the training loader draws from a generator of its own, whose state no checkpoint holds: leave "
            "generator out, so that the seed of the run decides, or give the loader state_dict and "
            "load_state_dict"
        )
    ends = tuple(range(int(of_epoch), steps + 1, int(of_epoch)))
    return FitLength(steps, validations, batches, None if anywhere else ends, int(of_epoch))


def _draws_itself(loader: Any) -> bool:
    owners = (loader, getattr(loader, "sampler", None))
    return any(getattr(owner, "generator", None) is not None for owner in owners)


def _steps(trainer: Trainer, of_epoch: int) -> int:
    """Return the number of batches of the whole fit."""
    limits = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(trainer.max_epochs * of_epoch)
    if trainer.max_steps >= 0:
        limits.append(_batches_of_steps(trainer, trainer.max_steps, of_epoch))
    if not limits:
        raise ValueError("the fit has no end, of which rungs are fractions: set max_epochs or max_steps")
    return min(limits)


def _batches_of_steps(trainer: Trainer, steps: int, of_epoch: int) -> int:
    """Return the number of batches of so many optimizer steps."""
    batches = epoch = 0
    while steps > (steps_of_epoch := -(-of_epoch // batches_a_step(trainer, epoch))):
        steps -= steps_of_epoch
        batches += of_epoch
        epoch += 1
    return batches + min(steps * batches_a_step(trainer, epoch), of_epoch)


def _validations(trainer: Trainer, steps: int, of_epoch: int) -> tuple[int, ...]:
    """Return the batches after which the fit validates, as Lightning decides it."""
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if interval is None:
        raise ValueError("val_check_interval is a time, which makes the outcome depend on it: give batches")
    if every is None:
        return tuple(step for step in range(1, steps + 1) if step % interval == 0)
    found = []
    for epoch in range(every - 1, -(-steps // of_epoch), every):
        within = range(1, of_epoch + 1)
        ends = (
            step for step in within if (step == of_epoch if math.isinf(interval) else step % interval == 0)
        )
        found += [epoch * of_epoch + step for step in ends]
    return tuple(step for step in found if step <= steps)

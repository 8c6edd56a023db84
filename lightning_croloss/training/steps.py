"""Steps of a training: those of the optimizer, and under manual optimization batches."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Trainer


def counts_batches(trainer: Trainer) -> bool:
    """Whether batches are counted: under manual optimization.

    There ``trainer.global_step`` counts what each of several optimizers does, and nothing of a batch after
    which none steps.
    """
    return not trainer.lightning_module.automatic_optimization


def steps_done(trainer: Trainer) -> int:
    """Return how many steps came before the one that is about to begin, in earlier runs too.

    A batch counts once it is over, so that one that a stopped run had begun does not count twice.
    """
    if counts_batches(trainer):
        return int(trainer.fit_loop.epoch_loop.batch_progress.total.completed)
    return int(trainer.global_step)


def steps_in_all(trainer: Trainer) -> int | None:
    """Return the number of steps of the training, None if nobody knows it.

    ``trainer.estimated_stepping_batches`` knows one number of batches a step, that of the moment: here each
    epoch has its own, as ``GradientAccumulationScheduler`` sets it.

    Args:
        trainer: the trainer in a fit, of ``lightning`` or of ``pytorch_lightning``; its data is asked for if
            it is not there yet.
    """
    total = trainer.estimated_stepping_batches
    if counts_batches(trainer) and trainer.max_steps != -1:  # steps of optimizers, of any number a batch
        return None
    batches, epochs = trainer.num_training_batches, trainer.max_epochs
    if epochs is not None and epochs >= 0 and math.isfinite(batches) and _sets_accumulation(trainer):
        total = sum(
            math.ceil(batches / batches_a_step(trainer, epoch)) for epoch in range(max(int(epochs), 1))
        )
        total = total if trainer.max_steps == -1 else min(total, trainer.max_steps)
    return int(total) if math.isfinite(total) and total > 0 else None


def batches_a_step(trainer: Trainer, epoch: int) -> int:
    """Return over how many batches gradients are added up for a step in an epoch, counted from 0."""
    scheduler = _sets_accumulation(trainer)
    if scheduler is None:
        return int(trainer.accumulate_grad_batches)
    return int(scheduler.get_accumulate_grad_batches(epoch))


def _sets_accumulation(trainer: Trainer) -> Any:
    """Return the ``GradientAccumulationScheduler`` that has the last word, None if there is none."""
    # by what it does: that of pytorch_lightning is another class
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return next((each for each in reversed(callbacks) if hasattr(each, "get_accumulate_grad_batches")), None)

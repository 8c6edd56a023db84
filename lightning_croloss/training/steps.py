"""Steps of a training: those of the optimizer, and under manual optimization batches."""

from __future__ import annotations

import math

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
    """Return the number of steps of the training, None if nobody knows it."""
    total = trainer.estimated_stepping_batches
    if counts_batches(trainer) and trainer.max_steps != -1:  # steps of optimizers, of any number a batch
        return None
    return int(total) if math.isfinite(total) and total > 0 else None

"""At which steps values are logged: logging each costs a third of a small model's step."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer

from lightning_croloss.training.steps import counts_batches, steps_done


def logs_next_step(trainer: Trainer, name: str) -> bool:
    """Whether ``name`` is to be logged at the step that is about to be taken.

    Lightning writes a value at every so many steps, which are batches under manual optimization. It is also
    needed where an epoch or the training ends, so that short runs have it, and at every step if a callback or
    a scheduler monitors it.
    """
    return _logs(trainer, name, steps_done(trainer) + 1)


def logged_last_step(trainer: Trainer, name: str) -> bool:
    """Whether ``name`` is to be logged at the step that was just taken, whose batch is not over yet."""
    return _logs(trainer, name, steps_done(trainer) + counts_batches(trainer))


def _logs(trainer: Any, name: str, step: int) -> bool:
    return (
        step % max(int(trainer.log_every_n_steps), 1) == 0
        or bool(trainer.is_last_batch)
        or step == trainer.max_steps
        or any(getattr(callback, "monitor", None) == name for callback in trainer.callbacks)
        or any(config.monitor == name for config in trainer.lr_scheduler_configs)
    )

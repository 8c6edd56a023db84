"""At which steps values are logged: logging each costs a third of a small model's step."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def logs_next_step(trainer: Trainer, name: str) -> bool:
    """Whether ``name`` is to be logged at the optimizer step that is about to be taken.

    Lightning writes a value at every so many steps. It is also needed where an epoch or the training ends, so
    that short runs have it, and at every step if a callback or a scheduler monitors it.
    """
    return _logs(trainer, name, trainer.global_step + 1)


def logged_last_step(trainer: Trainer, name: str) -> bool:
    """Whether ``name`` is to be logged at the optimizer step that was just taken."""
    return _logs(trainer, name, trainer.global_step)


def _logs(trainer: Any, name: str, step: int) -> bool:
    return (
        step % max(int(trainer.log_every_n_steps), 1) == 0
        or bool(trainer.is_last_batch)
        or step == trainer.max_steps
        or any(getattr(callback, "monitor", None) == name for callback in trainer.callbacks)
        or any(config.monitor == name for config in trainer.lr_scheduler_configs)
    )

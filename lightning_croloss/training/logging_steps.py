"""At which steps values are logged: logging each costs a third of a small model's step."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def logs_next_step(trainer: Trainer) -> bool:
    """Whether Lightning will log the optimizer step that is about to be taken."""
    return bool((trainer.global_step + 1) % _interval(trainer) == 0)


def logged_last_step(trainer: Trainer) -> bool:
    """Whether Lightning logs the optimizer step that was just taken."""
    return bool(trainer.global_step % _interval(trainer) == 0)


def _interval(trainer: Any) -> int:
    return max(int(trainer.log_every_n_steps), 1)

"""Whether a training took any step, and why not."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher


def why_untrained(trainer: Trainer) -> str | None:
    """Return a clause that says why a fit that has ended took no step; None if it took one."""
    fields = [
        f"trainer.{name} is {value:g}"
        for name in ("max_epochs", "max_steps", "limit_train_batches")
        if (value := getattr(trainer, name)) == 0
    ]
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):  # its processes count the steps
        return fields[0] if fields else None
    if trainer.global_step > 0:
        return None
    if not fields and any(
        isinstance(callback, Timer) and callback.time_remaining() == 0
        for callback in trainer.callbacks  # type: ignore[attr-defined]
    ):
        return "trainer.max_time was over before the first step"
    return fields[0] if fields else "it ended before the first step"

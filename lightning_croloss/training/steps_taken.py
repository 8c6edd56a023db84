"""Whether a training took any step, or a measurement any batch, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


#: The field of the trainer that says how many batches each command takes.
LIMITS = {
    "validate": "limit_val_batches",
    "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}


def why_unmeasured(command: str, section: Mapping[str, Any]) -> str | None:
    """Return a clause that says why a command would take no batch; None if it takes some.

    Args:
        command: "validate", "test" or "predict".
        section: the trainer's fields.
    """
    name = LIMITS[command]
    limit = section.get(name)
    none = isinstance(limit, (int, float)) and limit == 0 and not section.get("fast_dev_run")
    return f"trainer.{name} is 0" if none else None

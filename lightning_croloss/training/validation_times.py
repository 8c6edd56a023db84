"""When a training validates, and whether what waits for that gets what it waits for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    Timer,
)
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.types import LRSchedulerConfig

_SOONER = "validate sooner (trainer.val_check_interval, check_val_every_n_epoch), or train longer"


def check_validation_times(trainer: Trainer, names: Sequence[str]) -> None:
    """Refuse to wait for a validation that does not come in time, or warn; let schedulers wait for theirs.

    Args:
        trainer: the trainer, which knows its batches, before the first step.
        names: the metrics of validation; everything else that is called ``val/…`` is taken for one.

    Raises:
        ValueError: training would fail when it misses the metric.
    """
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.strict and _is_measured(config.monitor, names):
            _settle(config, trainer)
    first, last = first_validation(trainer), batches_in_all(trainer)
    if not trainer.enable_validation or first is None or first <= last:
        return
    late = f"the first validation would come after {first:,} batches, and training ends after {last:,}"
    for watcher in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(watcher, "monitor", None)
        measured = _is_measured(monitor, names)
        told = f"{type(watcher).__name__} monitors {monitor!r}, which is never measured, since {late}"
        if isinstance(watcher, EarlyStopping) and measured:
            if watcher.strict and watcher._check_on_train_epoch_end:
                raise ValueError(f"{told}: {_SOONER}")
            rank_zero_warn(f"{told}: it never ends the training; {_SOONER}")
        elif isinstance(watcher, ModelCheckpoint) and (measured or _waits(watcher, trainer)):
            keeps = "last.ckpt alone" if watcher.save_last else "nothing"
            told = told if measured else f"ModelCheckpoint saves after validations, but {late}"
            rank_zero_warn(f"{told}: it keeps {keeps}; {_SOONER}")


def first_validation(trainer: Trainer) -> int | None:
    """Return after how many batches of a training its first validation comes, None if nobody knows."""
    every, batches, interval = _times(trainer)
    if interval is None:
        return None
    if every is None:
        return None if math.isinf(interval) else int(interval)
    of_epoch = min(interval, batches)
    earlier = (every - 1) * batches if every > 1 else 0
    return int(earlier + of_epoch) if math.isfinite(earlier + of_epoch) else None


def batches_in_all(trainer: Trainer) -> float:
    """Return after how many batches a training ends at the latest, infinity if nobody knows."""
    _, batches, _ = _times(trainer)
    epochs = math.inf if trainer.max_epochs in (None, -1) else int(trainer.max_epochs or 0)
    last = epochs * batches if epochs else 0
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    steps_vary = any(isinstance(each, (GradientAccumulationScheduler, Timer)) for each in callbacks)
    if trainer.max_steps == -1 or steps_vary or not trainer.lightning_module.automatic_optimization:
        return last
    accumulated = trainer.accumulate_grad_batches
    if math.isinf(batches):
        return min(last, trainer.max_steps * accumulated)
    steps = -(-int(batches) // accumulated)
    whole, rest = divmod(trainer.max_steps, steps)
    return min(last, whole * int(batches) + rest * accumulated)


def _times(trainer: Trainer) -> tuple[int | None, float, float | None]:
    """Return which epochs are validated, the batches of one, and every so many batches; None: no such."""
    return trainer.check_val_every_n_epoch, trainer.num_training_batches, trainer.val_check_batch


def _is_measured(monitor: object, names: Sequence[str]) -> bool:
    return isinstance(monitor, str) and (monitor in names or monitor.startswith("val/"))


def _waits(callback: ModelCheckpoint, trainer: Trainer) -> bool:
    """Tell whether a callback that chooses by no metric of validation saves after validations only."""
    if not callback.save_top_k or callback._every_n_train_steps or callback._train_time_interval is not None:
        return False
    return not callback._should_save_on_train_epoch_end(trainer)


def _settle(config: LRSchedulerConfig, trainer: Trainer) -> None:
    """Let a ``ReduceLROnPlateau`` step when its metric has been measured; Lightning fails where it was not.

    Raises:
        ValueError: that cannot be.
    """
    told = f"lr_scheduler: ReduceLROnPlateau monitors {config.monitor!r}, which"
    if not trainer.enable_validation:
        raise ValueError(
            f"{told} is never measured without validation: set trainer.limit_val_batches above 0, or let it "
            "monitor 'train/loss' with mode='min'"
        )
    every, batches, interval = _times(trainer)
    if interval is None or (every is None and math.isinf(max(batches, interval))):  # nobody knows
        return
    if config.interval == "step":
        together = interval == 1 if every is None else every == 1 and config.frequency % interval == 0
        if not together:
            raise ValueError(
                f"{told} is measured after validations, and not at its steps: set lr_scheduler_interval to "
                '"epoch"'
            )
        return
    epochs = math.ceil(interval / batches) if every is None else every
    if config.frequency % epochs == 0:
        return
    if config.frequency != 1:
        raise ValueError(
            f"{told} is measured in every {epochs} epochs, but its frequency is {config.frequency}: set that "
            f"to {epochs}"
        )
    config.frequency = epochs
    rank_zero_info(f"{told} is measured in every {epochs} epochs: it follows it as often")

"""A learning rate that falls to none over the last steps of a fit, whenever these are known."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_croloss.training.resume import batches_so_far


class FallingRate(Callback):
    """Lets the rates of all optimizers fall to none along a straight line; before it they are as they were.

    What a high rate has left unsettled then falls into place, at any moment of a fit: nobody needs to know
    beforehand how long that will be, as along a cosine (Hägele et al., "Scaling Laws and Compute-Optimal
    Training Beyond Fixed Training Durations", NeurIPS 2024).

    Args:
        begin: training steps since the beginning of the fit after which the rates begin to fall.
        end: those after which they are 0, which is the last step.
    """

    def __init__(self, begin: int, end: int) -> None:
        self._begin, self._end = begin, end
        self._rates: list[list[Any]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the rates as they are, in a fit that goes on as its checkpoint has them.

        Raises:
            ValueError: a scheduler sets them too.
        """
        if trainer.lr_scheduler_configs:
            raise ValueError("the model has an lr_scheduler: a rate cannot fall to none by two of them")
        self._rates = [[group["lr"] for group in each.param_groups] for each in trainer.optimizers]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the rates of a step."""
        before = batches_so_far(trainer) - 1  # which counts the one that begins
        left = (self._end - before) / max(1, self._end - self._begin)
        if left >= 1.0:
            return
        for optimizer, rates in zip(trainer.optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * max(0.0, left)


__all__ = ["FallingRate"]

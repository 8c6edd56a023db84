"""What ends the fit of a search by the clock: once its speed is known, or at a deadline."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_croloss.tuning.segment import RungReached

#: Steps after which the speed of training is known.
ENOUGH = 60


class Stopwatch(Callback):
    """Ends a fit, before its first validation, once the time of a step is known.

    Args:
        seconds: how long it may take at most.
    """

    def __init__(self, seconds: float) -> None:
        self.steps = 0
        self._seconds = seconds
        self._times: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock."""
        self.steps += 1
        self._times.append(time.monotonic())
        if self.steps >= ENOUGH or self._times[-1] - self._times[0] > self._seconds:
            raise RungReached

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End here; the validation is measured apart."""
        if trainer.state.fn == "fit":
            raise RungReached

    def step(self) -> float:
        """Return the seconds of a step: the median, as the first ones take longer."""
        between = [later - earlier for earlier, later in itertools.pairwise(self._times)]
        return statistics.median(between) if between else 0.0


class Deadline(Callback):
    """Ends a fit at a time.

    Args:
        seconds: since 1970.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock; the fit validates once more before it ends."""
        if time.time() > self._seconds:
            trainer.should_stop = True

"""A fit that validates and ends by the clock, whatever its speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_croloss.training.resume import batches_so_far
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.segment import logged_metrics

#: A validation comes after this share of the seconds trained so far, after so many of a validation at least.
GROWTH, WORTH = 0.3, 4.0
#: Validations without a gain after which a model is as good as it gets, what counts as a gain, and how much
#: longer than to its best, and than an epoch, it must have been trained since.
PATIENCE, GAIN, LONGER = 3, 0.002, 1.7
#: ``val_check_interval`` of a fit whose validations are asked for here.
NEVER = 10**9


def is_settled(validations: Sequence[tuple[int, float]], epoch: int) -> bool:
    """Return whether validations show that no more is gained.

    Args:
        validations: the training steps before each, and what it reached.
        epoch: training steps of an epoch: random batches say little before all data were seen.
    """
    best, at, gained = float("-inf"), 0, -1
    for number, (step, value) in enumerate(validations):
        if number == 0 or value > (best + GAIN * abs(best) if math.isfinite(best) else best):
            best, at, gained = value, step, number
    since = len(validations) - 1 - gained
    return since >= PATIENCE and validations[-1][0] >= max(LONGER * at, at + epoch)


class ByTheClock(Callback):
    """Lets a fit validate at times that lie further and further apart, and says when it is to end.

    The fit's own ``val_check_interval`` must be ``NEVER``, with ``check_val_every_n_epoch=None``.

    Args:
        end: when all is to be over, the last validation included, by the clock.
        objective: what is looked for: the fit ends early once it gains no more.
        trained: seconds that it was trained before.
        validations: its validations before, each with the training steps before it and what it reached.
        validation: seconds of a validation, if they are known.
        latest: what ``end`` may be moved to, so that training takes as long as all before it did, from
            ``began`` on; None does not move it.
        began: when that was.
        clock: the time in seconds.
        steps: training steps in all after which it ends too; None does not end it.
        settles: whether it ends once it gains no more: not if what it gains comes at its end.
    """

    def __init__(
        self,
        end: float,
        objective: Objective,
        trained: float = 0.0,
        validations: Sequence[tuple[int, float]] = (),
        validation: float = 0.0,
        latest: float | None = None,
        began: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        steps: int | None = None,
        settles: bool = True,
    ) -> None:
        #: seconds of training of this fit, without its validations
        self.trained = 0.0
        #: all validations, those before too
        self.validations = [*validations]
        #: whether it gains no more
        self.settled = False
        #: seconds of the last validation
        self.validation = validation
        #: whether the fit is to end
        self.over = False
        self._end = end
        self._objective = objective
        self._before = trained
        self._latest, self._began = latest, began
        self._clock = clock
        self._steps = math.inf if steps is None else steps
        self._settles = settles
        self._now = self._asked = self._last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._now = self._clock()
        if self._latest is not None:
            self._end = max(self._end, min(self._latest, 2 * self._now - self._began))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock, and ask for a validation if it is time."""
        now = self._clock()
        self.trained += now - self._now
        self._now = now
        due = self._last + max(GROWTH * (self._before + self.trained), WORTH * self.validation)
        left = self._end - now - self.validation
        # one that would be followed by another in no time comes with that one
        last = left <= 0 or batches_so_far(trainer) >= self._steps
        if last or (self.trained >= due and left > 0.5 * (due - self._last)):
            self._asked = now
            trainer.val_check_batch = 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was reached, and whether it goes on."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        trainer.val_check_batch = NEVER
        self._now = self._clock()
        self.validation = self._now - self._asked
        self._last = self.trained
        value = self._objective.value(logged_metrics(trainer))
        self.validations.append((batches_so_far(trainer), value))
        self.settled = self._settles and is_settled(self.validations, int(trainer.num_training_batches))
        self.over = self.settled or self._end - self._now - self.validation <= 0
        self.over |= self.validations[-1][0] >= self._steps


__all__ = ["NEVER", "ByTheClock", "is_settled"]

"""CROLossCallback: sets the parameters of a retrieval loss on a schedule."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_croloss.callbacks.schedule_length import length_in, nearest_state, state_key, training_length
from lightning_croloss.configurable import Configurable
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.schedules import LossScheduler, Schedule
from lightning_croloss.schedules.checks import as_schedules, check_schedules, find_loss
from lightning_croloss.schedules.moments import warn_of_moments
from lightning_croloss.training.logging_steps import logged_last_step, logs_next_step
from lightning_croloss.training.monitors import BY_THE_CALLBACK
from lightning_croloss.training.steps import steps_done, steps_in_all
from lightning_croloss.training.whole_files import write_whole_files

#: A target n cannot be reached if the best soft ranks of an epoch stay this many times above it.
FAR_ABOVE = 3.0
_NAME = "CROLossCallback"


class CROLossCallback(Configurable, Callback):
    """Schedule the target N, α, the Lambda weight and the temperature of the loss in a Lightning module.

    Works with any module that holds one ``RetrievalLoss``, not only with this package's models. Logs what it
    sets as ``croloss/n`` and so on, a temperature that the loss learns as ``croloss/temperature``, and the
    mean soft rank of the positives as ``train/soft_rank``.

    Moments of the schedules are steps of the optimizer. Under manual optimization a step is a batch, however
    many optimizers step in it, and whether or not one does; fractions need ``max_epochs`` there.

    The loss may be made in ``setup`` or ``configure_model`` of the module. After the fit it has the last of
    the scheduled values; a checkpoint that is loaded has those that it was made with.

    Args:
        n: target N of ``TargetNImportance``, or of the rule of ``CROLoss(n=…)``, which then chooses α and the
            temperature for the n of each step, unless they were given to the loss or are scheduled: a number
            or a schedule. Anneal it from large to small.
        alpha: α of ``PowerImportance``: a number or a schedule.
        lambda_weight: weight of the Lambda method: a number or a schedule.
        temperature: temperature of the loss: a number or a schedule. A small n needs a small one.

    Raises:
        ValueError: at the start of training, if the loss has no such parameter, or a value is out of range.
    """

    #: What the names begin with that it logs.
    LOGS: ClassVar[tuple[str, ...]] = BY_THE_CALLBACK

    def __init__(
        self,
        n: float | Schedule | None = None,
        alpha: float | Schedule | None = None,
        lambda_weight: float | Schedule | None = None,
        temperature: float | Schedule | None = None,
    ) -> None:
        given = {"n": n, "alpha": alpha, "lambda_weight": lambda_weight, "temperature": temperature}
        self.schedules: dict[str, Schedule] = as_schedules(given, _NAME)
        self.total_steps: int | None = None
        self._resumed = False  # whether the length is that of a checkpoint, for the fit that comes
        self._loss: RetrievalLoss | None = None
        self._scheduler: LossScheduler | None = None
        self._best_soft_rank: Tensor | None = None  # where the loss is, which is not asked for it in a step
        self._warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit, unless this goes on with it; let the trainer write nothing by halves."""
        write_whole_files(trainer)
        if stage != "fit":
            return
        if not self._resumed and steps_done(trainer) == 0:
            self.total_steps = None
        self._best_soft_rank, self._warned = None, False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the loss and check every value that will be set."""
        # not in setup, which comes before the module's own, where it may make the loss
        self._loss = find_loss(pl_module, _NAME)
        check_schedules(_NAME, self._loss, self.schedules)
        # asking for the length loads the data, which a run that goes on must not before its place is known
        if trainer.ckpt_path is None:
            self._fix_length(trainer, self._loss)

    def _fix_length(self, trainer: Trainer, loss: RetrievalLoss) -> None:
        """Fix the number of steps that fractions refer to: at the first fit, not at a resumed one."""
        if self.total_steps is None:
            self.total_steps = training_length(trainer, self.schedules)
        check_schedules(_NAME, loss, self.schedules, self.total_steps or 1)
        dry = trainer.fast_dev_run  # type: ignore[attr-defined]
        if self.total_steps is not None and trainer.is_global_zero and not dry:
            length = max(self.total_steps, steps_in_all(trainer) or 0)
            warn_of_moments(_NAME, self.schedules, self.total_steps, length)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to set the values."""
        assert self._loss is not None
        if trainer.ckpt_path is not None:
            self._fix_length(trainer, self._loss)
        self._scheduler = _Scheduler(self._loss, self.total_steps or 1, **self.schedules)
        self._scheduler.left_alone = frozenset(
            name
            for other in trainer.callbacks  # type: ignore[attr-defined]
            if isinstance(other, CROLossCallback) and other is not self
            for name in other.schedules
        )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the values of this step."""
        assert self._scheduler is not None
        for name, value in self._scheduler.set_step(steps_done(trainer)).items():
            if logs_next_step(trainer, f"croloss/{name}"):
                # of a number Lightning makes a tensor on the device, and reads it after each step
                pl_module.log(
                    f"croloss/{name}", torch.tensor(value, device="cpu"), prog_bar=name == "n", batch_size=1
                )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the mean soft rank of the positives, and the temperature if the loss learns it."""
        assert self._loss is not None
        diagnostics = self._loss.diagnostics
        # the step has been counted by now, unless gradients are being accumulated
        if "temperature" in diagnostics and logged_last_step(trainer, "croloss/temperature"):
            pl_module.log("croloss/temperature", diagnostics["temperature"], batch_size=1)
        if not logged_last_step(trainer, "train/soft_rank"):
            return
        if "soft_rank" in diagnostics:
            # the same for all processes, as schedulers and callbacks may monitor it
            pl_module.log(
                "train/soft_rank", diagnostics["soft_rank"], batch_size=1, sync_dist=trainer.world_size > 1
            )
            best = diagnostics["best_soft_rank"]
            before = self._best_soft_rank
            self._best_soft_rank = best if before is None else torch.fmin(before, best)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if not even the best soft rank comes near n: the temperature is then too high for it."""
        assert self._loss is not None
        best = math.inf if self._best_soft_rank is None else float(self._best_soft_rank)
        self._best_soft_rank = None
        known = self._loss.schedulable()
        if "n" not in known or self._warned or not math.isfinite(best):
            return
        n = float(known["n"])
        if best > FAR_ABOVE * n:
            self._warned = True
            learned = self._loss.diagnostics.get("temperature")
            temperature = float(known["temperature"] if learned is None else learned)
            warnings.warn(
                f"the best soft rank of this epoch is {best:.0f}, far above n={n:g}: at temperature "
                f"{temperature:g} the many items far below the positive add up to more than n; lower the "
                "temperature (or schedule it together with n) or choose a larger n",
                stacklevel=2,
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what belongs to this fit."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Forget what belongs to this fit."""
        self._end()

    def _end(self) -> None:
        self._loss = self._scheduler = None
        self._resumed = False

    @property
    def state_key(self) -> str:
        """Name of this callback's state, so that several callbacks may schedule different parameters."""
        return state_key(self.schedules)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps that fractions refer to."""
        return {"total_steps": self.total_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it, so that a resume with another ``max_epochs`` does not shift the schedule.

        Raises:
            ValueError: it is no number of steps.
        """
        self.total_steps = length_in(state_dict)
        self._resumed = self.total_steps is not None

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the length from another callback's state where this one has none in the checkpoint.

        Raises:
            ValueError: the state holds no number of steps.
        """
        states = checkpoint.get("callbacks") or {}
        if self.state_key not in states and (state := nearest_state(states, self.schedules)) is not None:
            self.load_state_dict({**state})


class _Scheduler(LossScheduler):
    def _look_at_moments(self, who: str) -> None:
        """Leave it: the callback knows better how long the training is."""

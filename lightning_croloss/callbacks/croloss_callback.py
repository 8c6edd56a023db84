"""CROLossCallback: sets the parameters of a retrieval loss on a schedule."""

from __future__ import annotations

import math
import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_croloss.callbacks.schedules import Constant, Schedule
from lightning_croloss.configurable import Configurable
from lightning_croloss.errors import suggest
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.training.logging_steps import logged_last_step, logs_next_step
from lightning_croloss.training.whole_files import write_whole_files

#: A target n cannot be reached if the best soft ranks of an epoch stay this many times above it.
FAR_ABOVE = 3.0


class CROLossCallback(Configurable, Callback):
    """Schedule the target N, α, the Lambda weight and the temperature of the loss in a Lightning module.

    Works with any module that holds one ``RetrievalLoss``, not only with this package's models. Logs what it
    sets as ``croloss/n`` and so on, and the mean soft rank of the positives as ``train/soft_rank``.

    Args:
        n: target N of ``TargetNImportance``: a number or a schedule. Anneal it from large to small.
        alpha: α of ``PowerImportance``: a number or a schedule.
        lambda_weight: weight of the Lambda method: a number or a schedule.
        temperature: temperature of the loss: a number or a schedule. A small n needs a small one.

    Raises:
        ValueError: at the start of training, if the loss has no such parameter, or a value is out of range.
    """

    def __init__(
        self,
        n: float | Schedule | None = None,
        alpha: float | Schedule | None = None,
        lambda_weight: float | Schedule | None = None,
        temperature: float | Schedule | None = None,
    ) -> None:
        given = {"n": n, "alpha": alpha, "lambda_weight": lambda_weight, "temperature": temperature}
        self.schedules: dict[str, Schedule] = {
            name: value if isinstance(value, Schedule) else Constant(value)
            for name, value in given.items()
            if value is not None
        }
        self.total_steps: int | None = None
        self._loss: RetrievalLoss | None = None
        self._best_soft_rank = math.inf
        self._warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loss and check every value that will be set; let the trainer write nothing by halves."""
        write_whole_files(trainer)
        if stage != "fit":
            return
        self._loss = find_loss(pl_module)
        known = self._loss.schedulable()
        for name, schedule in self.schedules.items():
            if name not in known:
                raise ValueError(
                    f"CROLossCallback schedules {name!r}, which {_describe(self._loss)} does not have"
                    f"{suggest(name, known)}"
                )
            for value in schedule.extremes():
                try:
                    self._loss.check_value(name, value)
                except ValueError as error:
                    raise ValueError(f"CROLossCallback, schedule of {name!r}: {error}") from error

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fix the number of steps that fractions refer to: at the first fit, not at a resumed one."""
        if self.total_steps is not None:
            return
        total = trainer.estimated_stepping_batches
        if math.isfinite(total) and total > 0:
            self.total_steps = int(total)
            return
        fractions = {
            name
            for name, schedule in self.schedules.items()
            if any(0.0 < moment <= 1.0 for moment in schedule.places())
        }
        if fractions:
            raise ValueError(
                f"CROLossCallback: the schedule of {', '.join(sorted(fractions))} ends at a fraction of the "
                "training, whose length is unknown: set trainer.max_epochs or max_steps, or give begin and "
                "until in optimizer steps"
            )
        self.total_steps = 1

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the values of this optimizer step."""
        assert self._loss is not None
        assert self.total_steps is not None
        known = self._loss.schedulable()
        for name, schedule in self.schedules.items():
            value = schedule.value(trainer.global_step, self.total_steps)
            known[name].fill_(value)
            if logs_next_step(trainer, f"croloss/{name}"):
                pl_module.log(f"croloss/{name}", value, prog_bar=name == "n", batch_size=1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the mean soft rank of the positives."""
        assert self._loss is not None
        # the step has been counted by now, unless gradients are being accumulated
        if not logged_last_step(trainer, "train/soft_rank"):
            return
        diagnostics = self._loss.diagnostics
        if "soft_rank" in diagnostics:
            pl_module.log("train/soft_rank", diagnostics["soft_rank"], batch_size=1)
            self._best_soft_rank = min(self._best_soft_rank, float(diagnostics["best_soft_rank"]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if not even the best soft rank comes near n: the temperature is then too high for it."""
        assert self._loss is not None
        best, self._best_soft_rank = self._best_soft_rank, math.inf
        if "n" not in self._loss.schedulable() or self._warned or not math.isfinite(best):
            return
        n = float(self._loss.schedulable()["n"])
        if best > FAR_ABOVE * n:
            self._warned = True
            temperature = float(self._loss.schedulable()["temperature"])
            warnings.warn(
                f"the best soft rank of this epoch is {best:.0f}, far above n={n:g}: at temperature "
                f"{temperature:g} the many items far below the positive add up to more than n; lower the "
                "temperature (or schedule it together with n) or choose a larger n",
                stacklevel=2,
            )

    @property
    def state_key(self) -> str:
        """Name of this callback's state, so that several callbacks may schedule different parameters."""
        return f"CROLossCallback[{','.join(self.schedules)}]"

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps that fractions refer to."""
        return {"total_steps": self.total_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it, so that a resume with another ``max_epochs`` does not shift the schedule."""
        self.total_steps = state_dict["total_steps"]


def find_loss(module: LightningModule) -> RetrievalLoss:
    """Return the one ``RetrievalLoss`` of a module.

    Raises:
        ValueError: the module holds none, or more than one.
    """
    losses = [child for child in module.modules() if isinstance(child, RetrievalLoss)]
    if len(losses) != 1:
        raise ValueError(
            f"CROLossCallback needs a module with one RetrievalLoss as an attribute, "
            f"{type(module).__name__} has {len(losses)}"
        )
    return losses[0]


def _describe(loss: RetrievalLoss) -> str:
    importance = getattr(loss, "importance", None)
    return type(loss).__name__ + (f" with {type(importance).__name__}" if importance is not None else "")

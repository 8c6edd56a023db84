"""Training in segments: from a checkpoint to a step, where it is saved so that it goes on exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import _TunerExitException

from lightning_croloss.models.resumable_training import ResumableTraining
from lightning_croloss.training.double_precision import convert_before_restoring
from lightning_croloss.training.lightning_internals import lacking, missing_internals
from lightning_croloss.training.module_position import ModulePosition
from lightning_croloss.training.resume import batches_so_far
from lightning_croloss.training.whole_files import write_whole_files
from lightning_croloss.tuning.outcome import Outcome, Validation

#: What is trained on: a data module, the loaders of training and validation, or None if the module has some.
Data = LightningDataModule | Sequence[Any] | None


class RungReached(_TunerExitException):
    """Ends a fit in the midst, without a word to its callbacks and loggers: for them it has not ended."""


def train_segment(
    trainer: Trainer,
    module: LightningModule,
    data: Data,
    *,
    step: int | None,
    save: Path,
    resume: Path | None = None,
    before: Outcome | None = None,
    until: Callable[[], bool] | None = None,
) -> Outcome:
    """Train a module from where it stands up to a step of its fit, save it there, and validate it.

    All segments together are one fit: the same steps, validations, schedules, weights, and the same best
    checkpoints as if ``trainer.fit`` had run without a break. The validation of the rung comes after the
    checkpoint is saved, apart from the fit, whose callbacks do not see it; there is none if the fit has
    validated at that very step, or is over.

    Args:
        trainer: a new trainer, made in the same way for each segment; its length is that of the whole fit.
        module: a new module, made in the same way for each segment.
        data: what ``trainer.fit`` is given.
        step: the number of training steps (batches) since the beginning of the fit; None trains to its end.
        save: where the checkpoint is written at the step; at the end of the fit only if it has never
            validated, so that ``ModelCheckpoint`` has nothing to go by.
        resume: the checkpoint of the segment before, with ``before``; None begins the fit.
        before: what the segment before returned.
        until: asked after each step and validation; once it is true, the segment ends there as at a step.

    Raises:
        ValueError: the trainer uses several devices, or the fit cannot be taken up there.
    """
    began = time.monotonic()
    validated = before is not None and any(not each.apart for each in before.validations)
    end = SegmentEnd(step, save, isinstance(module, ResumableTraining), validated, until)
    trainer.callbacks.append(end)  # type: ignore[attr-defined]  # after all others, ModelCheckpoint too
    trainer.num_sanity_val_steps = 0
    # a RetrievalModel's checkpoints hold plain types; what others keep as hyperparameters is theirs
    plain = isinstance(module, ResumableTraining)
    trainer.fit(
        module, **fit_arguments(data), ckpt_path=None if resume is None else str(resume), weights_only=plain
    )
    finished = not end.stopped
    validations = [*(before.validations if before else ()), *end.validations]
    now = batches_so_far(trainer)
    own = [each.step for each in validations if not each.apart]
    if (finished and not own) or (not finished and now not in own):
        loggers, trainer.loggers = trainer.loggers, []  # nothing of the fit hears of it
        trainer.validate(module, **_validation_arguments(data), verbose=False)
        trainer.loggers = loggers
        validations.append(Validation(now, logged_metrics(trainer), apart=True))
    seconds = time.monotonic() - began + (before.seconds if before else 0.0)
    return Outcome(now, tuple(validations), finished, None, seconds)


class SegmentEnd(Checkpoint):
    """Notes each validation of a fit, and ends it at a step with a checkpoint from which it goes on exactly.

    The last of the callbacks: the others have all acted, as they would have at the end of the step.

    Args:
        step: number of training steps since the beginning of the fit; None does not end it.
        save: where the checkpoint is written.
        own_position: whether the module keeps its moment in training itself, as a ``RetrievalModel`` does.
        validated: whether the fit has validated in a segment before.
        until: whether to end it, whatever the step; None never does.
    """

    def __init__(
        self,
        step: int | None,
        save: Path,
        own_position: bool,
        validated: bool = False,
        until: Callable[[], bool] | None = None,
    ) -> None:
        self.stopped = False
        self.validations: list[Validation] = []
        self._validated = validated
        self._step = step
        self._save = save
        self._position = ModulePosition(own_position)
        self._saving = False
        self._until = until or (lambda: False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the trainer write nothing by halves, and restore what it reads as it was.

        Raises:
            ValueError: this Lightning lacks what it takes to go on exactly.
        """
        if missing := missing_internals(trainer):
            raise ValueError(f"{lacking(missing)}, which tune needs: install lightning 2.6")
        write_whole_files(trainer)
        convert_before_restoring(trainer, pl_module)  # a later hook comes when the weights are there

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore what the loaders are about to draw from."""
        self._position.before_data()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on where the segment before has ended."""
        self._position.begin(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End here, unless the fit is about to validate."""
        loop: Any = trainer.fit_loop
        if self._is_reached(trainer) and not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            self._end(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the metrics, and end here after the validation of the step."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.validations.append(Validation(batches_so_far(trainer), logged_metrics(trainer)))
        if self._is_reached(trainer):
            self._end(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse data that end before the batches of an epoch do by which rungs are counted.

        Raises:
            ValueError: with their number.
        """
        loop: Any = trainer.fit_loop
        seen = loop.epoch_loop.batch_progress.current.ready
        if loop._data_fetcher.done and seen < loop.max_batches:
            raise ValueError(
                f"rungs are counted in epochs of {loop.max_batches} batches, as limit_train_batches or the "
                f"length of the loader says, and the data end after {seen}: set limit_train_batches to {seen}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last weights of a fit that has no best ones."""
        if not self.validations and not self._validated:
            trainer.save_checkpoint(self._save)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the moment into the segment's own checkpoint."""
        if self._saving:
            self._position.save(trainer, pl_module, checkpoint)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take it from the checkpoint of the segment before."""
        if trainer.state.fn == "fit":
            self._position.load(trainer, checkpoint)

    def _is_reached(self, trainer: Trainer) -> bool:
        reached = self._step is not None and batches_so_far(trainer) >= self._step
        if not (reached or self._until()):
            return False
        # one that is about to end by itself is let end
        return not (trainer.should_stop and trainer.fit_loop._can_stop_early)

    def _end(self, trainer: Trainer) -> None:
        self._saving = True
        trainer.save_checkpoint(self._save, weights_only=False)
        self._saving = False
        self.stopped = True
        raise RungReached


def logged_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the metrics that callbacks see, as numbers."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def fit_arguments(data: Data) -> dict[str, Any]:
    """Return the data as the arguments of ``trainer.fit``."""
    if data is None or isinstance(data, LightningDataModule):
        return {"datamodule": data}
    return {"train_dataloaders": data[0], "val_dataloaders": data[1]}


def _validation_arguments(data: Data) -> dict[str, Any]:
    if data is None or isinstance(data, LightningDataModule):
        return {"datamodule": data}
    return {"dataloaders": data[1]}

"""What a checkpoint says of its moment in training, besides Lightning's own counts."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import Tensor

from lightning_croloss.training.averaged_checkpoint import forget_early_copies
from lightning_croloss.training.epoch_sums import sums_of_the_epoch
from lightning_croloss.training.row_exchange import mean_gradient

#: Moments at which a checkpoint is taken: what Lightning would have done next differs.
AFTER_BATCH = "batch"
AFTER_VALIDATION = "validation"
AFTER_EPOCH = "epoch"
BETWEEN = "between"

#: Callbacks that replace the weights when training ends.
AVERAGES = (StochasticWeightAveraging, WeightAveraging)


class Position:
    """Notes where in training a checkpoint was taken, so that a resumed run can do what was still to be done.

    A checkpoint is taken in the middle of things: at the end of a batch, of a validation or of an epoch, when
    some callbacks have acted and others, and the schedulers that monitor a metric, have not. Lightning (2.6)
    forgets what was still to be done, the metrics, and the gradients that were being accumulated.

    Attributes:
        missing: what this Lightning lacks for that, see ``lightning_internals.py``: nothing is noted then but
            this.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._before_stop: dict[str, Any] = {}
        self._weights: dict[str, Tensor] = {}
        self._stopped_at = -1

    def note_stop(self, trainer: Trainer, module: LightningModule) -> None:
        """Note how things stand if training is about to stop.

        In the middle of an epoch Lightning then calls the hooks of its end, which in a run that goes on come
        only later. And in the end the callbacks that average the weights replace them.
        """
        if self.missing:
            return
        inner = trainer.fit_loop.epoch_loop
        last_batch = inner._num_ready_batches_reached()
        last_epoch = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= trainer.max_epochs
        if not (trainer.should_stop or (inner._is_training_done and (last_epoch or not last_batch))):
            return
        forget_early_copies(trainer, module)
        if any(isinstance(callback, AVERAGES) for callback in _acting(trainer)):
            self._weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
        self._stopped_at = inner.batch_progress.total.ready
        if last_batch:
            self._before_stop = {}
            return
        states = {callback.state_key: callback.state_dict() for callback in _acting(trainer)}
        self._before_stop = copy.deepcopy({key: state for key, state in states.items() if state})

    def describe(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> dict[str, Any]:
        """Return what to keep in ``checkpoint``, whose counts are corrected where training stops in an epoch.

        Args:
            trainer: the trainer.
            module: what it trains.
            checkpoint: what Lightning is about to write.

        Returns:
            Plain types and tensors; nothing if training has not begun.
        """
        if self.missing:
            return {"missing": self.missing}
        loops = checkpoint["loops"]["fit_loop"]
        epochs, batches = (loops[f"{name}_progress"]["current"] for name in ("epoch", "epoch_loop.batch"))
        if epochs["ready"] == 0:
            return {}
        moment = _moment(trainer, epochs, batches)
        inner = trainer.fit_loop.epoch_loop
        if epochs["processed"] == epochs["ready"] and not inner._num_ready_batches_reached():
            moment = BETWEEN
            self._take_back_the_epochs_end(loops, checkpoint, inner.batch_progress.total.ready)
        waiting = inner._should_accumulate()
        if batches["processed"] < batches["ready"]:
            _take_back_the_batch(loops)
            # Lightning asks of the batch at work, which may have been the last of its window
            waiting = batches["ready"] % trainer.accumulate_grad_batches != 0
        described: dict[str, Any] = {
            "moment": moment,
            "metrics": {
                name: value.detach().cpu().clone() for name, value in trainer.callback_metrics.items()
            },
            "saved": {
                callback.state_key: [callback._last_global_step_saved, callback._defer_save_until_validation]
                for callback in trainer.checkpoint_callbacks
                if isinstance(callback, ModelCheckpoint)
            },
        }
        if epochs["processed"] < epochs["started"]:
            described["sums"] = sums_of_the_epoch(trainer)
        if self._weights and self._stopped_at == inner.batch_progress.total.ready:
            described["weights"] = self._weights
        if batches["completed"] and waiting:
            described["gradients"] = _gradients(trainer, module)
        return described

    def _take_back_the_epochs_end(
        self, loops: dict[str, Any], checkpoint: dict[str, Any], batch: int
    ) -> None:
        for counts in loops["epoch_progress"].values():
            counts["completed"] = counts["processed"] = counts["ready"] - 1
        if self._stopped_at == batch and "callbacks" in checkpoint:
            checkpoint["callbacks"] |= self._before_stop


def _moment(trainer: Trainer, epochs: dict[str, int], batches: dict[str, int]) -> str:
    if epochs["processed"] == epochs["ready"]:
        return AFTER_EPOCH if epochs["completed"] < epochs["processed"] else BETWEEN
    if epochs["started"] < epochs["ready"] or batches["processed"] < batches["ready"]:
        return BETWEEN
    if batches["completed"] < batches["processed"]:
        return AFTER_BATCH
    if not trainer.validating:
        return BETWEEN
    validation = trainer.fit_loop.epoch_loop.val_loop
    done = validation.batch_progress.current.completed >= sum(validation.max_batches)
    return AFTER_VALIDATION if done else AFTER_BATCH


def _take_back_the_batch(loops: dict[str, Any]) -> None:
    """Let a batch that was at work, in an error or when a user saved, be drawn again."""
    for counts in (loops["epoch_loop.batch_progress"][name] for name in ("total", "current")):
        counts["ready"] = counts["started"] = counts["processed"] = counts["completed"]
    loops["epoch_loop.batch_progress"]["is_last_batch"] = False
    for state in loops["state_dict"].get("combined_loader", []):
        if "rows_before" in state:
            state["rows"] = state["rows_before"]


def _gradients(trainer: Trainer, module: LightningModule) -> dict[str, Tensor]:
    """Return the gradients that wait for the rest of their batches, the mean over all processes.

    Those of a table in shards are of this process's rows, and the mean already.
    """
    in_shards = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
    kept = {name: entry.grad for name, entry in module.named_parameters() if entry.grad is not None}
    kept = {name: gradient.detach().clone() for name, gradient in kept.items()}
    if trainer.world_size > 1 and sys.exc_info()[0] is None:  # in an error the processes are not together
        kept = {name: value if name in in_shards else mean_gradient(value) for name, value in kept.items()}
    return {name: gradient.cpu() for name, gradient in kept.items()}


def _acting(trainer: Trainer) -> Iterable[Any]:
    return (callback for callback in trainer.callbacks if not isinstance(callback, Checkpoint))  # type: ignore[attr-defined]

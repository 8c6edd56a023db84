"""Goes on with a run exactly where a checkpoint was taken, doing first what was still to be done then."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loops import fit_loop as loops_of_fits
from lightning.pytorch.utilities import rank_zero_info

from lightning_croloss.data.datamodule import RetrievalDataModule
from lightning_croloss.data.loader import BatchLoader
from lightning_croloss.training.epoch_sums import restore_sums
from lightning_croloss.training.position import AFTER_BATCH, AFTER_EPOCH, AFTER_VALIDATION
from lightning_croloss.training.run_files import name_in_run


class Continuation:
    """What a resumed run does before its first step, so that it goes on as the uninterrupted run did.

    Lightning restores weights, optimizers, callbacks and counts. At the end of an epoch or a validation it
    then leaves out what came after the checkpoint: ``ReduceLROnPlateau`` loses its step, callbacks the epoch.

    Args:
        checkpoint: the content of the checkpoint.
        described: what :class:`~lightning_croloss.training.position.Position` put into it.
    """

    def __init__(self, checkpoint: dict[str, Any], described: dict[str, Any]) -> None:
        self._described = described
        self._loops = checkpoint["loops"]["fit_loop"]
        self._step = int(checkpoint["global_step"])
        self._callbacks = checkpoint.get("callbacks", {})

    @staticmethod
    def leave_out_searches(trainer: Trainer) -> None:
        """Take out the callbacks that search a rate or a batch size before training.

        They were done before the checkpoint; done again, they make Lightning (2.6) forget what it resumes.
        """
        searches = (LearningRateFinder.on_fit_start, BatchSizeFinder.on_fit_start)
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in list(callbacks):
            if getattr(type(callback), "on_fit_start", None) in searches:
                callbacks.remove(callback)
                rank_zero_info(
                    f"{type(callback).__name__}: left out, since a resumed run keeps what it found"
                )

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Restore the moment, and do what Lightning was about to do when the checkpoint was taken.

        Args:
            trainer: the trainer, whose loop is about to begin its first epoch.
            module: what it trains.
        """
        loop, inner = _loops(trainer)
        _load_places(loop)
        self._keep_seed(trainer)
        recounted = self._restore(trainer, module)
        moment = self._described["moment"]
        self._restart(trainer, in_an_epoch=False)
        if moment in (AFTER_BATCH, AFTER_VALIDATION):
            if moment == AFTER_VALIDATION:
                self._call_checkpoints(trainer, module, "on_validation_end")
            # in the middle of an epoch of other batches than before, none says that a validation is due
            inner._skip_next_val = moment == AFTER_VALIDATION or recounted
            inner.on_advance_end(loop._data_fetcher)
            inner._skip_next_val = False
        epochs = loop.epoch_progress.current
        if moment == AFTER_EPOCH:
            self._call_checkpoints(trainer, module, "on_train_epoch_end")
            inner.update_lr_schedulers("epoch", update_plateau_schedulers=True)
            loop.epoch_progress.increment_completed()
        elif epochs.processed < epochs.started and inner._num_ready_batches_reached():
            loop.on_advance_end()
        in_an_epoch = epochs.processed < epochs.started
        self._restart(trainer, in_an_epoch)
        _begin_callbacks(trainer, module, in_an_epoch)

    def _keep_seed(self, trainer: Trainer) -> None:
        """Let the order of the rows follow the seed of the run, whichever one this process was given.

        Lightning brings it back with the place in an epoch, but not at the end of one.
        """
        combined = _loops(trainer)[0]._combined_loader
        loaders = [] if combined is None else combined.flattened
        states = (self._loops.get("state_dict") or {}).get("combined_loader", [])
        data = trainer.datamodule  # type: ignore[attr-defined]
        for loader, state in zip(loaders, states, strict=False):
            if isinstance(loader, BatchLoader) and "seed" in state:
                loader.seed = state["seed"]
                if isinstance(data, RetrievalDataModule):  # which may be asked for another loader
                    data.prepare_for(replace(data.request, seed=loader.seed))

    def _restore(self, trainer: Trainer, module: LightningModule) -> bool:
        """Restore the moment; return whether other batches than before are left of the epoch."""
        loop, inner = _loops(trainer)
        loop.epoch_progress.load_state_dict(self._loops["epoch_progress"])
        inner.batch_progress.load_state_dict(self._loops["epoch_loop.batch_progress"])
        inner.batch_progress.is_last_batch = self._loops["epoch_loop.batch_progress"]["is_last_batch"]
        inner._batches_that_stepped = self._loops["epoch_loop.state_dict"]["_batches_that_stepped"]
        batches = inner.batch_progress
        for counts in (batches.current, batches.total):
            counts.completed = counts.processed
        epochs = loop.epoch_progress
        if epochs.current.started < epochs.current.ready:  # its beginning is still to come
            for counts in (epochs.current, epochs.total):
                counts.ready -= 1
        metrics = {name: value.to(module.device) for name, value in self._described["metrics"].items()}
        trainer.callback_metrics.update(metrics)
        if "weights" in self._described:  # those that the averages replaced
            module.load_state_dict(self._described["weights"])
        parameters = dict(module.named_parameters())
        for name, gradient in self._described.get("gradients", {}).items():
            parameters[name].grad = gradient.to(parameters[name].device)
        restore_sums(trainer, self._described.get("sums", []))
        self._restore_checkpoints(trainer)
        return bool(epochs.current.processed < epochs.current.started) and _count_batches_anew(trainer)

    def _restore_checkpoints(self, trainer: Trainer) -> None:
        """Let each ``ModelCheckpoint`` know what it has saved at this step, so as not to save it again."""
        callbacks = trainer.checkpoint_callbacks
        resumed = _name(str(trainer.ckpt_path), callbacks)
        for callback in callbacks:
            if (
                not isinstance(callback, ModelCheckpoint)
                or callback.state_key not in self._described["saved"]
            ):
                continue
            step, waits = self._described["saved"][callback.state_key]
            state = self._callbacks.get(callback.state_key, {})
            written = [
                state.get("best_model_path"),
                state.get("last_model_path"),
                *state.get("best_k_models", []),
            ]
            # it was writing this very file
            if resumed in {_name(path, callbacks) for path in written if path}:
                step, waits = self._step, False
                callback._last_checkpoint_saved = str(trainer.ckpt_path)
            callback.current_score = state.get("current_score")
            callback._last_global_step_saved, callback._defer_save_until_validation = step, waits

    def _call_checkpoints(self, trainer: Trainer, module: LightningModule, hook: str) -> None:
        """Let the ``ModelCheckpoint`` callbacks act that come after the one that wrote the checkpoint."""
        stage = trainer.state.stage
        trainer.validating = hook == "on_validation_end"
        for callback in trainer.checkpoint_callbacks:
            if callback.state_key in self._described["saved"]:
                getattr(callback, hook)(trainer, module)
        trainer.state.stage = stage

    def _restart(self, trainer: Trainer, in_an_epoch: bool) -> None:
        """Tell the loops whether they go on within an epoch or begin one; nothing else is left to restart."""
        loop, inner = _loops(trainer)
        for each in (loop, inner, inner.val_loop, inner.automatic_optimization, inner.manual_optimization):
            each._restarting = False
            each.reset_restart_stage()
        if in_an_epoch:
            # the hooks of its beginning were called
            loop._restart_stage = loops_of_fits.RestartStage.RESTARTED_MID_EPOCH
            inner._restarting = True  # keeps the counts of the epoch
            if not inner._should_accumulate():
                inner._batches_that_stepped -= 1  # which a loop that restarts counts itself


def _name(path: str, callbacks: Iterable[Callback]) -> str:
    """Return what a checkpoint is called in the folder of its run."""
    return name_in_run(path if "://" in path else os.path.abspath(path), callbacks) or Path(path).name


def _loops(trainer: Trainer) -> tuple[Any, Any]:
    """Return the loop over epochs and that over the batches of one."""
    return trainer.fit_loop, trainer.fit_loop.epoch_loop


def _load_places(loop: Any) -> None:
    """Let the loaders know their places where somebody asked for them before Lightning knew these.

    So does whoever asks for ``trainer.estimated_stepping_batches`` in ``configure_optimizers``.
    """
    if loop.restarting and loop._combined_loader_states_to_load and loop._combined_loader is not None:
        loop._load_combined_loader_states()
        iter(loop._data_fetcher)


def _count_batches_anew(trainer: Trainer) -> bool:
    """Let Lightning count the batches of the epoch as if all had had today's size.

    Returns:
        Whether their number changed and some are left.
    """
    loop, inner = _loops(trainer)
    loaders = loop._combined_loader.flattened if loop._combined_loader is not None else []
    if len(loaders) != 1 or not isinstance(loaders[0], BatchLoader):
        return False
    batches, counts = int(loop.max_batches), inner.batch_progress.current
    done = batches - loaders[0].batches_left(batches)
    if done == counts.ready:
        return False
    counts.ready = counts.started = counts.processed = counts.completed = done
    if done == batches:  # the rest of the epoch is smaller than a batch
        inner.batch_progress.is_last_batch = True
        inner.update_lr_schedulers("epoch", update_plateau_schedulers=False)
    return done < batches


def _begin_callbacks(trainer: Trainer, module: LightningModule, in_an_epoch: bool) -> None:
    """Let the callbacks of Lightning begin the epoch that set something for all of it."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler) and in_an_epoch:
            callback.on_train_epoch_start(trainer)
        if isinstance(callback, StochasticWeightAveraging) and callback._scheduler_state is not None:
            with _kept_rates(trainer):  # building its scheduler sets them
                callback.on_train_epoch_start(trainer, module)


@contextmanager
def _kept_rates(trainer: Trainer) -> Iterator[None]:
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    kept = [group["lr"] for group in groups]
    yield
    for group, rate in zip(groups, kept, strict=True):
        group["lr"] = rate

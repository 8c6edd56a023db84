"""Checkpoints of averaged weights, and that what is measured is the averages."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.utilities import rank_zero_info

from lightning_croloss.training.run_folder import checkpoint_folder

#: Name of the checkpoint, which no other callback gives.
STEM = "averaged"


class AveragedCheckpoint(Checkpoint):
    """Keeps the averaged weights of a run, which are what it has made.

    ``StochasticWeightAveraging`` puts the averages into the model after the last checkpoint is written, and
    nowhere else. This callback, which as a ``Checkpoint`` acts after it, saves a whole checkpoint of them: a
    longer run goes on from there with the weights as they were before.

    Attributes:
        best_model_path: the checkpoint; "" if nothing was averaged.
        is_result: see :func:`~lightning_croloss.training.best_checkpoint.keeper_of_the_best`.
    """

    is_result = True

    def __init__(self) -> None:
        self.best_model_path = ""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the averages, where they have taken the place of the weights; else say that they have not."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for averaging in averages_of(trainer):
            averaged = 0 if averaging.n_averaged is None else int(averaging.n_averaged)
            taken = bool(averaged) and _holds(pl_module, averaging._average_model)
            if not trainer.strategy.reduce_boolean_decision(taken, all=True):
                why = "training ended before its last epoch" if averaged else "it was to begin later"
                rank_zero_info(
                    f"StochasticWeightAveraging: the weights are not averaged, since {why}: the checkpoints "
                    "are those of a run without it"
                )
                continue
            saved = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
            path = trainer.strategy.broadcast(_free_path(checkpoint_folder(trainer)))
            trainer.save_checkpoint(path, bool(saved) and all(each.save_weights_only for each in saved))
            self.best_model_path = path
            rank_zero_info(
                f"StochasticWeightAveraging: this run has made the mean of the weights at the beginning of "
                f"{averaged} epochs, which is kept in {path}"
            )


def averages_of(trainer: Trainer) -> list[StochasticWeightAveraging]:
    """Return the callbacks of a trainer that average its weights when training ends."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, StochasticWeightAveraging)]


def forget_early_copies(trainer: Trainer, module: LightningModule) -> None:
    """Let what has averaged nothing yet hold the weights as they are.

    It holds those from before training, and Lightning (2.6) puts them into the model in the end all the same.
    """
    for averaging in averages_of(trainer):
        if not averaging.n_averaged and averaging._average_model is not None:
            averaging.transfer_weights(module, averaging._average_model)


def measure_averages(trainer: Trainer) -> None:
    """Let a checkpoint that is loaded to be measured keep the averages that it holds as the model.

    In a trainer that has trained, Lightning (2.6) puts the weights of training in their place.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback._average_model = None  # as in a trainer that has not; the next fit makes another


def _holds(module: LightningModule, averages: LightningModule | None) -> bool:
    return averages is not None and all(
        torch.equal(own, average.to(own.device))
        for own, average in zip(module.parameters(), averages.parameters(), strict=True)
    )


def _free_path(folder: str) -> str:
    if "://" in folder:
        return f"{folder}/{STEM}.ckpt"
    for number in count():
        path = Path(folder) / (f"{STEM}-v{number}.ckpt" if number else f"{STEM}.ckpt")
        if not path.exists():
            return str(path)
    raise AssertionError("unreachable")

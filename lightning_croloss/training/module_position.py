"""Exact resume of a module that knows nothing of it: for a callback that saves and goes on."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_croloss.training.best_models import keep_best_models
from lightning_croloss.training.continuation import Continuation
from lightning_croloss.training.position import Position
from lightning_croloss.training.random_states import random_states, restore_random_states

#: Under what it lies in a checkpoint.
KEY = "lightning_croloss_position"


class ModulePosition:
    """The moment in training of any module, and the generators from which it and its loaders draw.

    A ``RetrievalModel`` keeps its own, and draws by the number of the step: for one of these only the
    generators are kept, from which its callbacks may draw.

    Args:
        own: whether the module keeps its moment in training itself.
    """

    def __init__(self, own: bool) -> None:
        self._own = own
        self._position = Position()
        self._continuation: Continuation | None = None
        self._states: dict[str, Any] | None = None
        self._stops = False

    def save(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the moment into a checkpoint that is about to be written."""
        described = None if self._own else self._position.describe(trainer, module, checkpoint)
        checkpoint[KEY] = {
            "position": described,
            "random": random_states(),
            "should_stop": bool(trainer.should_stop),
        }

    def load(self, trainer: Trainer, checkpoint: dict[str, Any]) -> None:
        """Take it from a checkpoint that is about to be resumed."""
        kept = checkpoint[KEY]
        self._states, self._stops = kept["random"], kept["should_stop"]
        if kept["position"] is not None:
            if "moment" in kept["position"]:
                self._continuation = Continuation(checkpoint, kept["position"])
                Continuation.leave_out_searches(trainer)
            keep_best_models(trainer, checkpoint)

    def before_data(self) -> None:
        """Restore the generators before the loaders are asked for an epoch, which draw from them."""
        if self._states is not None:
            restore_random_states(self._states)

    def begin(self, trainer: Trainer, module: LightningModule) -> None:
        """Do what was still to be done when the checkpoint was written, before the first step."""
        if self._states is None:
            return
        continuation, self._continuation = self._continuation, None
        batches = trainer.fit_loop.epoch_loop.batch_progress
        if not batches.is_last_batch:  # the loaders of the epoch have drawn what they draw at its beginning
            restore_random_states(self._states)
        self._states = None
        if continuation is not None:
            continuation.begin(trainer, module)
        trainer.should_stop = trainer.should_stop or self._stops

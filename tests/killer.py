"""Callbacks that end their own process, for the tests of resuming and of Ctrl-C."""

from __future__ import annotations

import os
import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class KillAt(Callback):
    """Send SIGKILL to this process before optimizer step ``step``.

    Args:
        step: the step, counted from 0.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class InterruptAt(Callback):
    """Send SIGINT, which is Ctrl-C, before batch ``step`` of a training epoch or of prediction.

    Args:
        step: the batch, counted from 0.
        epoch: the epoch of training, counted from 0.
    """

    def __init__(self, step: int, epoch: int = 0) -> None:
        self.step = step
        self.epoch = epoch

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.step):
            _interrupt()

    def on_predict_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == self.step:
            _interrupt()


def _interrupt() -> None:
    # a process that was started in the background ignores SIGINT, and so do its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)


class SignalAt(Callback):
    """Send a signal to this process when a hook is called for the ``call``-th time.

    Args:
        hook: name of a hook of ``Callback``.
        call: the call, counted from 0.
        number: the signal.
    """

    def __init__(self, hook: str, call: int = 0, number: int = signal.SIGTERM) -> None:
        self._left = call

        def send(trainer: Trainer, *arguments: Any, **options: Any) -> None:
            if not trainer.sanity_checking:
                self._left -= 1
                if self._left == -1:
                    os.kill(os.getpid(), number)

        setattr(self, hook, send)

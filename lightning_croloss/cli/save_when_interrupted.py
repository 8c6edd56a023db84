"""A checkpoint that an interrupted fit leaves, to go on from exactly where it was."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from lightning_croloss.cli.asked import Asked
from lightning_croloss.cli.interruption import Interruption, current, listen_in_started_process
from lightning_croloss.cli.quiet import be_quiet
from lightning_croloss.training.run_folder import checkpoint_folder

#: Name of the checkpoint, which no callback takes for the best or for the last of a finished epoch.
STEM = "interrupted"


class SaveWhenInterrupted(Checkpoint):
    """Waits with the end of an interrupted training until the batch is done, and saves a checkpoint then.

    Several processes end after the same batch, within a second; see :class:`Asked`.

    The last of the callbacks (a ``Checkpoint`` that comes after the others): they have all acted, as they
    would have at the end of the batch.
    """

    def __init__(self) -> None:
        self._asked = Asked()
        self.saved = ""
        self.failure = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Answer signals in a process that the trainer has started too."""
        listen_in_started_process()
        be_quiet()  # such a process was not told yet

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a checkpoint can be saved."""
        _interruption().patient = True
        self._asked = Asked()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End here if a signal has come; several processes ask each other for it now and then."""
        told = _interruption().number is not None
        if told if trainer.world_size == 1 else self._asked.any(trainer, told):
            self._end(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End here if a signal has come; several processes do not come here equally often."""
        if trainer.world_size == 1 and _interruption().number is not None and not _swapped(trainer):
            self._end(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End here if a signal has come to any of the processes."""
        number = _interruption().number
        if trainer.strategy.reduce_boolean_decision(number is not None, all=False):
            self._end(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training is over, and what comes can be done again."""
        _interruption().patient = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Training is over."""
        _interruption().patient = False

    def _end(self, trainer: Trainer) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            path = trainer.strategy.broadcast(_free_path(trainer))
            try:
                trainer.save_checkpoint(path, weights_only=False)
                self.saved = path
            except OSError as error:
                self.failure = error.strerror or str(error)
        _interruption().end()


class OwnSignals(_SignalConnector):
    """Lets a trainer leave SIGTERM to the command.

    Lightning's own handler (2.6) notes it, and ends later with status 0; with several processes it waits for
    the others, who may be waiting for something else.
    """

    def register_signal_handlers(self) -> None:
        """Answer the signals that Lightning answers, except for the command's."""
        super().register_signal_handlers()
        interruption = current()
        if interruption is not None:
            interruption.listen()


def _free_path(trainer: Trainer) -> str:
    """Return a path that is free, or that of the earlier checkpoint from which this run went on."""
    folder = checkpoint_folder(trainer)
    if "://" in folder:
        return f"{folder}/{STEM}.ckpt"
    resumed = Path(str(trainer.ckpt_path)).absolute() if trainer.ckpt_path else None
    for number in count():
        path = Path(folder) / (f"{STEM}-v{number}.ckpt" if number else f"{STEM}.ckpt")
        if not path.exists() or path.absolute() == resumed:
            return str(path)
    raise AssertionError("unreachable")


def _swapped(trainer: Trainer) -> bool:
    """Tell whether a validation measures averages, while they are in the place of the weights."""
    return any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]


def _interruption() -> Interruption:
    interruption = current()
    assert interruption is not None
    return interruption

"""The progress bar of the commands."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class ClosingProgressBar(TQDMProgressBar):
    """Ends its line when a run fails, so that the error begins a line of its own."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close what is open."""
        opened = (
            self._train_progress_bar,
            self._val_progress_bar,
            self._test_progress_bar,
            self._predict_progress_bar,
        )
        for bar in opened:
            if bar is not None:
                bar.close()

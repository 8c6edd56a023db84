"""What every training of a benchmark begins with and keeps."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning.pytorch as pl
import torch

from lightning_croloss import RetrievalModel


def start_run(seed: int) -> None:
    """Make the process quiet, single-threaded and seeded: the beginning of each run."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    pl.seed_everything(seed, verbose=False)


def quiet_trainer(epochs: int, callbacks: list[pl.Callback], **arguments: Any) -> pl.Trainer:
    """Build a trainer on the CPU that logs and prints nothing."""
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


class BestEpoch(pl.Callback):
    """Keeps a validation metric after every epoch, and the weights of the best.

    Args:
        metric: name of the metric, without "val/".
    """

    def __init__(self, metric: str = "recall@50") -> None:
        self.metric = metric
        self.valid: list[float] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the figure, and the weights if it is the best so far."""
        assert isinstance(pl_module, RetrievalModel)
        value = float(pl_module.metrics["val"].compute()[self.metric])
        if all(value > earlier for earlier in self.valid):
            self.weights = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}
        self.valid.append(value)

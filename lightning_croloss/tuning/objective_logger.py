"""ObjectiveLogger: makes a weighted mean over several N a metric that callbacks can monitor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_croloss.configurable import Configurable
from lightning_croloss.tuning.objective import MEAN, Objective


class ObjectiveLogger(Configurable, Callback):
    """After each validation logs the weighted mean of a metric over several N as ``val/objective``.

    ``ModelCheckpoint`` can then keep the model that is best in it; ``EarlyStopping`` too, if it comes after
    this callback in the list.

    Args:
        weights: the weight of each N; they need not add up to 1.
        metric: "recall", "ndcg" …, as in :class:`~lightning_croloss.tuning.Objective`.
    """

    def __init__(self, weights: Mapping[int, float], metric: str = "recall") -> None:
        self._objective = Objective(metric, dict(weights))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the mean among the metrics that callbacks see."""
        if trainer.sanity_checking:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        value = self._objective.value(metrics)
        trainer.callback_metrics[MEAN] = torch.tensor(value)
        for logger in trainer.loggers:
            logger.log_metrics({MEAN: value}, step=trainer.global_step)

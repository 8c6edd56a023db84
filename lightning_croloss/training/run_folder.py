"""The folder of a run: where its config, results and checkpoints lie."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger


def run_folder(trainer: Trainer) -> Path:
    """Return a folder that no other run has, the one in which ``ModelCheckpoint`` keeps its own.

    ``Trainer.log_dir`` is such a folder for some loggers; for others, W&B's among them, all runs share it.
    """
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    logger: Logger = trainer.loggers[0]
    if getattr(logger, "log_dir", None):
        return Path(str(logger.log_dir))
    _ = logger.experiment  # type: ignore[attr-defined]  # W&B knows its version once the run has begun
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir) / str(logger.name) / version

"""What other packages say that a user of the commands can do nothing with."""

from __future__ import annotations

import logging
import os
import warnings

#: Name of the environment that whoever starts the processes of a run sets, Lightning or a launcher.
STARTED = "LOCAL_RANK"
#: Names of the environment that tell the number of a process of a run.
RANKS = ("RANK", STARTED, "SLURM_PROCID")
#: Warnings between packages, about calls that are theirs; the second where a program calls ``main`` itself,
#: the third that a measured model cannot go on training.
IDLE_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",
    "LightningCLI's args parameter is intended",
    "You're using the WeightAveraging callback, but loading a checkpoint outside",
)
#: Beginnings of log messages that recommend a product, or tell of what Lightning does in passing.
IDLE_MESSAGES = ("💡 Tip:", "TPU available:", "Loading `train_dataloader` to estimate")
LOGGER = "lightning.pytorch.utilities.rank_zero"


def be_quiet() -> None:
    """Leave out what recommends products or concerns packages alone, and what other processes repeat."""
    for message in IDLE_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    if not is_first_process():
        warnings.filterwarnings("ignore", category=UserWarning)
    logger = logging.getLogger(LOGGER)
    if not any(isinstance(each, _NotIdle) for each in logger.filters):
        logger.addFilter(_NotIdle())


def is_first_process() -> bool:
    """Tell whether this is the process of a run that speaks for all."""
    return all(os.environ.get(name, "") in ("", "0") for name in RANKS)


class _NotIdle(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(IDLE_MESSAGES)

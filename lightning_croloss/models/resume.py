"""Exact resume: a run that is interrupted and resumed equals the run that was not."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import torch
from lightning.pytorch import Trainer


def run_seed() -> int:
    """Return the seed that ``seed_everything`` set, or 0."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def seed_step(seed: int, batch: int, rank: int) -> None:
    """Seed PyTorch for one training step.

    Sampling and dropout then depend on the place of the step in training and on nothing that came before,
    which makes a resumed run equal to an uninterrupted one.

    Args:
        seed: seed of the run.
        batch: number of the batch since training began.
        rank: number of the process.
    """
    digest = hashlib.blake2b(f"{seed}/{batch}/{rank}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "big"))


def batches_so_far(trainer: Trainer) -> int:
    """Return the number of training batches begun, over all epochs and resumes.

    Not derived from ``trainer.current_epoch``, which Lightning (2.6) may restore off by one.
    """
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def count_resumed_epoch(trainer: Trainer) -> None:
    """Count the epoch that a resumed run continues as begun.

    Lightning (2.6) forgets to when the checkpoint was saved at the last batch of an epoch. A checkpoint saved
    later in the middle of that epoch would look like one at its end, and resuming from it would not restore
    the place in the data.
    """
    loop = trainer.fit_loop
    progress: Any = loop.epoch_progress
    if loop.restarted_mid_epoch and progress.current.ready == progress.current.processed:
        for counts in (progress.current, progress.total):
            counts.ready += 1
            counts.started += 1

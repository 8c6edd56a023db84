"""The seed of a run, and of each of its steps."""

from __future__ import annotations

import hashlib
import os

import torch


def run_seed() -> int:
    """Return the seed that ``seed_everything`` set, or 0."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def seed_step(seed: int, epoch: int, batch: int, rank: int) -> None:
    """Seed PyTorch for one training step.

    Sampling and dropout then depend on the place of the step in training and on nothing that came before,
    which makes a resumed run equal to an uninterrupted one.
    """
    digest = hashlib.blake2b(f"{seed}/{epoch}/{batch}/{rank}".encode(), digest_size=7).digest()
    torch.manual_seed(int.from_bytes(digest, "big"))

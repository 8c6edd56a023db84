"""Exact resume: a run that is interrupted and resumed equals the run that was not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.common.archives import is_stored
from lightning_croloss.training.run_files import folder_of_run
from lightning_croloss.training.sharded.folder import rest_of


def seed_step(seed: int, batch: int, rank: int, device: torch.device) -> None:
    """Seed PyTorch for one training step, on the processor and on the device.

    Sampling and dropout then depend on the number of the step in training and on nothing that came before,
    which makes a resumed run equal to an uninterrupted one.

    Args:
        seed: seed of the run.
        batch: number of the batch since training began.
        rank: number of the process.
        device: where the model is.
    """
    digest = hashlib.blake2b(f"{seed}/{batch}/{rank}".encode(), digest_size=7).digest()
    number = int.from_bytes(digest, "big")
    # not torch.manual_seed: for each kind of device that was never used it keeps a call, and the text of the
    # stack with it, at every step: a tenth of a small model's step, and memory that only grows
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(number)


def batches_so_far(trainer: Trainer) -> int:
    """Return the number of training batches begun, over all epochs and resumes.

    Not derived from ``trainer.current_epoch``, which Lightning (2.6) may restore off by one.
    """
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def count_resumed_epoch(trainer: Trainer) -> None:
    """Count the epoch that a resumed run continues as begun.

    Lightning (2.6) forgets to when the checkpoint was saved at the last batch of an epoch. A checkpoint saved
    later in the middle of that epoch would look like one at its end, and resuming from it would not restore
    the position in the data.
    """
    loop = trainer.fit_loop
    progress: Any = loop.epoch_progress
    if loop.restarted_mid_epoch and progress.current.ready == progress.current.processed:
        for counts in (progress.current, progress.total):
            counts.ready += 1
            counts.started += 1


def keep_checkpoints_together(trainer: Trainer, ckpt_path: str | Path | None) -> None:
    """Let a resumed run keep its checkpoints in the folder of the run that it continues.

    In another folder ``ModelCheckpoint`` forgets the best score, and a worse model would become the best.

    Args:
        trainer: the trainer of the resumed run, before it starts.
        ckpt_path: the checkpoint to resume from; nothing is done if it is not a file, or was moved.
    """
    if ckpt_path is None or not Path(rest_of(ckpt_path)).is_file():
        return
    callbacks = trainer.checkpoint_callbacks
    # of a link beside other checkpoints, as last.ckpt may be, or else of what it leads to
    folders = [folder_of_run(str(path), callbacks) for path in (ckpt_path, Path(ckpt_path).resolve())]
    if not is_stored(rest_of(ckpt_path)):
        return  # the trainer, which reads it next, refuses it
    # mmap: the weights, which the trainer reads anyway, stay on the disk
    content = torch.load(rest_of(ckpt_path), map_location="cpu", weights_only=True, mmap=True)
    states = content.get("callbacks") if isinstance(content, dict) else None
    written_to = [state.get("dirpath") for state in _dictionaries(states) if state.get("dirpath")]
    known = [folder for folder in folders if any(_is_same(path, Path(folder)) for path in written_to)]
    if not known:
        return
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = known[0]


def _dictionaries(states: object) -> list[dict[str, Any]]:
    return [each for each in states.values() if isinstance(each, dict)] if isinstance(states, dict) else []


def _is_same(path: object, folder: Path) -> bool:
    try:
        return isinstance(path, str) and Path(path).resolve() == folder.resolve()
    except (OSError, ValueError):  # what a stranger wrote need not be a path
        return False

"""The folders that a run writes to: one that cannot be made is refused with the field that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


def check_folders(trainer: Trainer) -> None:
    """See that the folders can be made that the user has named, before anything is written.

    None is made, since the run may still be refused.

    Args:
        trainer: the trainer of a run that is about to begin; other processes than the first follow it.

    Raises:
        ValueError: one cannot be made, or nothing can be written to it.
    """
    if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
        return
    for field, folder in _named(trainer):
        if "://" in folder:
            continue
        there = Path(folder).absolute()
        try:
            with suppress(FileNotFoundError, NotADirectoryError):
                there.lstat()
        except OSError as error:
            raise ValueError(f"{field}: the folder {folder} cannot be made: {error.strerror}") from None
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            raise ValueError(f"{field}: the folder {folder} cannot be made: a file is in its place")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ValueError(f"{field}: nothing can be written into the folder {there}")


def _named(trainer: Trainer) -> Iterator[tuple[str, str]]:
    for logger in trainer.loggers:
        if logger.save_dir:
            yield "trainer.logger.save_dir", str(logger.save_dir)
    if not trainer.loggers:
        yield "trainer.default_root_dir", str(trainer.default_root_dir)
    if trainer.state.fn is None or trainer.state.fn == "fit":
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath:
                yield f"trainer.callbacks: dirpath of {type(callback).__name__}", str(callback.dirpath)

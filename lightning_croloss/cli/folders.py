"""The folders that a run writes to: one that cannot be made is refused with the field that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


def check_folders(trainer: Trainer) -> None:
    """Make the folders that the user has named, before anything is written.

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
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise ValueError(f"{field}: the folder {folder} cannot be made: a file is in its place") from None
        except OSError as error:
            raise ValueError(f"{field}: the folder {folder} cannot be made: {error.strerror}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(f"{field}: nothing can be written into the folder {folder}")


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

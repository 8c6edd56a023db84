"""The folder of a run: where its config, results and checkpoints lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from weakref import WeakKeyDictionary

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from lightning_croloss.common.files import move_to_free, replacing, synchronize, temporary_file

#: For each trainer the files that are its own, by the paths that it wished for.
_OWN: WeakKeyDictionary[Trainer, dict[Path, Path]] = WeakKeyDictionary()


def run_folder(trainer: Trainer) -> Path:
    """Return the folder in which ``ModelCheckpoint`` keeps its own; without a logger it is the root folder.

    ``Trainer.log_dir`` is such a folder for some loggers; for others, W&B's among them, all runs share it.
    """
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    logger: Logger = trainer.loggers[0]
    if getattr(logger, "log_dir", None):
        return Path(str(logger.log_dir))
    if hasattr(type(logger), "experiment"):  # which a logger need not have
        _ = logger.experiment  # type: ignore[attr-defined]  # W&B knows its version once the run has begun
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir) / str(logger.name) / version


def checkpoint_folder(trainer: Trainer) -> str:
    """Return the folder of the first ``ModelCheckpoint``, or where Lightning would make it."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath:
            return str(callback.dirpath)
    return str(run_folder(trainer) / "checkpoints")


def own_file(trainer: Trainer, name: str, write: Callable[[Path], object] | None = None) -> Path:
    """Return a file of the run's folder for this trainer alone: ``name``, or ``name-1`` … if that is taken.

    The root folder, and that of a fixed version, may hold files of the user's and of other runs: they stay
    as they are. No other run takes the same; a trainer that asks again gets the same file again.

    Args:
        trainer: the trainer of the run.
        name: name of the file, with its extension.
        write: writes the content to a temporary path of the same extension: the file then appears whole.
            None makes an empty file, unless there is one of this trainer.
    """
    wanted = run_folder(trainer) / name
    files = _OWN.setdefault(trainer, {})
    if wanted in files:
        if write is not None:
            with replacing(files[wanted]) as temporary:
                write(temporary)
        return files[wanted]
    with temporary_file(wanted) as temporary:
        if write is not None:
            write(temporary)
        synchronize(temporary)
        for path in _paths(wanted):
            try:
                move_to_free(temporary, path)
            except FileExistsError:
                continue
            files[wanted] = path
            break
    return files[wanted]


def known_file(trainer: Trainer, name: str) -> Path | None:
    """Return the trainer's own file of that name, None if it has none.

    Args:
        trainer: the trainer of the run, or what is left of it where other processes did the work.
        name: name of the file as :func:`own_file` was given it.
    """
    own = next((path for wish, path in _OWN.get(trainer, {}).items() if wish.name == name), None)
    if own is None and trainer.loggers:  # others made it, in a folder that is the run's alone
        own = run_folder(trainer) / name
    return own if own is not None and own.exists() else None


def _paths(wanted: Path) -> Iterator[Path]:
    for number in count():
        yield wanted.with_stem(f"{wanted.stem}-{number}") if number else wanted

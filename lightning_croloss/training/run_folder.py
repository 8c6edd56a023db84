"""The folder of a run: where its config, results and checkpoints lie."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from weakref import WeakKeyDictionary

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

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
    _ = logger.experiment  # type: ignore[attr-defined]  # W&B knows its version once the run has begun
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir) / str(logger.name) / version


def own_file(trainer: Trainer, name: str) -> Path:
    """Return a file of the run's folder for this trainer alone: ``name``, or ``name-1`` … if that is taken.

    The root folder, and that of a fixed version, may hold files of the user's and of other runs: they stay
    as they are. The file is made at once, empty, so that no other run takes the same; a trainer that asks
    again gets the same file again.

    Args:
        trainer: the trainer of the run.
        name: name of the file, with its extension.
    """
    wanted = run_folder(trainer) / name
    files = _OWN.setdefault(trainer, {})
    if wanted not in files:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        files[wanted] = _made(wanted)
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


def _made(wanted: Path) -> Path:
    for number in count():
        path = wanted.with_stem(f"{wanted.stem}-{number}") if number else wanted
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("unreachable")

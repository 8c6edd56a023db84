"""A version of its own for each run of a logger that numbers them, also of runs that begin together."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from lightning_croloss.training.resume import batches_so_far

#: What ``CSVLogger`` writes anew, whatever is there.
REPLACED = ("metrics.csv", "hparams.yaml")
#: Files that a run has written before it has any results.
EARLY = ("config.yaml", "hparams.yaml")
EVENTS = "events.out.tfevents"

NumberingLogger = CSVLogger | TensorBoardLogger


@contextmanager
def own_versions(trainer: Trainer, from_checkpoint: bool = False) -> Iterator[None]:
    """Make the folders of a run's loggers, which no other run then takes.

    Lightning's loggers look for the next free number and make the folder later: two runs that begin together
    would share it. If the run fails before it has trained or measured anything, its folders are removed.

    Args:
        trainer: the trainer, before it runs; processes other than the first follow, see
            :func:`share_versions`.
        from_checkpoint: whether it begins with a checkpoint: the config beside that fixes the version of the
            run that has written it, so a fixed version that is taken becomes the next one that is free.

    Raises:
        ValueError: a logger would replace the files of an earlier run, since its version is fixed.
    """
    made: list[Path] = []
    try:
        if trainer.is_global_zero:
            for logger in _numbering(trainer):
                if logger._version is None:
                    made.append(_claim(logger))
                elif replaced := _replaced(logger):
                    made.append(_take_next(logger, replaced, from_checkpoint))
        yield
    except BaseException:
        if batches_so_far(trainer) == 0:
            for folder in made:
                _remove_if_unused(folder)
        raise


def share_versions(trainer: Trainer) -> None:
    """Let all processes of a run know the versions that the first has taken; each must call it."""
    loggers = _numbering(trainer)
    for logger, version in zip(
        loggers, trainer.strategy.broadcast([logger.version for logger in loggers]), strict=True
    ):
        logger._version = version


def _numbering(trainer: Trainer) -> list[NumberingLogger]:
    """Return the loggers that number their runs in folders of this machine."""
    kinds = (CSVLogger, TensorBoardLogger)
    loggers: list[Logger] = trainer.loggers
    return [logger for logger in loggers if isinstance(logger, kinds) and "://" not in str(logger.root_dir)]


def _claim(logger: NumberingLogger) -> Path:
    root = Path(logger.root_dir)
    root.mkdir(parents=True, exist_ok=True)
    version = logger._get_next_version()
    while True:
        folder = root / f"version_{version}"
        try:
            folder.mkdir()
        except FileExistsError:  # another run was faster, or it is a file
            version += 1
            continue
        logger._version = version
        return folder


def _replaced(logger: NumberingLogger) -> list[str]:
    """Return the files of an earlier run that a logger with a fixed version would replace."""
    if not isinstance(logger, CSVLogger) or logger._experiment is not None:
        return []  # TensorBoard adds a file
    return [name for name in REPLACED if (Path(logger.log_dir) / name).exists()]


def _take_next(logger: NumberingLogger, replaced: list[str], from_checkpoint: bool) -> Path:
    folder = Path(logger.log_dir)
    if not from_checkpoint:
        raise ValueError(
            f"trainer.logger: {folder} holds {' and '.join(replaced)} of an earlier run, which would be "
            "replaced: choose another version, or leave it out to take the next free one"
        )
    if isinstance(logger.version, int):
        return _claim(logger)
    stem = re.sub(r"-[1-9]\d*$", "", str(logger.version))
    for number in count(1):
        logger._version = f"{stem or 'run'}-{number}"
        try:
            Path(logger.log_dir).mkdir()
        except FileExistsError:
            continue
        break
    rank_zero_info(f"{folder} holds an earlier run: the results of this one are in {logger.log_dir}")
    return Path(logger.log_dir)


def _remove_if_unused(folder: Path) -> None:
    """Remove the folder of a run that has no results; what lies there is the run's own."""
    files = [path.name for path in folder.rglob("*") if not path.is_dir()]
    if all(name in EARLY or name.startswith(EVENTS) for name in files):
        shutil.rmtree(folder, ignore_errors=True)

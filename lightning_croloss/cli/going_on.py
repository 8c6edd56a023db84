"""What is said of a run that ended before it was done: the whole command that goes on with it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss.cli.interruption import current, interruption_behind
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.save_when_interrupted import SaveWhenInterrupted
from lightning_croloss.training.best_checkpoint import best_checkpoint
from lightning_croloss.training.run_folder import checkpoint_folder, known_file


@contextmanager
def telling_how_to_go_on(trainer: Trainer, resumed: str | Path | None) -> Iterator[None]:
    """Run a fit; if it is interrupted, tell with what command it goes on, or why none does.

    Args:
        trainer: the trainer.
        resumed: the checkpoint from which the fit goes on itself, if any.
    """
    known = _files(trainer)
    with _telling(lambda: _advice(trainer, known, str(resumed or ""))):
        yield


@contextmanager
def telling_how_to_test(trainer: Trainer) -> Iterator[None]:
    """Run the test after a fit; if it is interrupted or fails, tell with what command it is done."""
    with _telling(lambda: _after_fit(trainer)):
        try:
            yield
        except Exception as error:
            if interruption_behind(error) is None:
                say(_after_fit(trainer))
            raise


@contextmanager
def _telling(advice: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        ended = interruption_behind(error) if current() is not None else None
        if ended is None:
            raise
        ended.advice = advice()
        raise ended from None


def _advice(trainer: Trainer, known: set[Path], resumed: str) -> str:
    if trainer.state.finished:
        return _after_fit(trainer)
    saving = next(
        (each for each in trainer.checkpoint_callbacks if isinstance(each, SaveWhenInterrupted)), None
    )
    if saving is None:
        return "no checkpoint is kept, since trainer.enable_checkpointing is false"
    path = saving.saved or _newest(trainer, known) or resumed
    failed = f"a checkpoint could not be saved ({saving.failure}); " if saving.failure else ""
    if path:
        return f"{failed}go on with: {_command(trainer, 'fit', path)}"
    return f"{failed}no checkpoint had been kept yet"


def _after_fit(trainer: Trainer) -> str:
    path = best_checkpoint(trainer)
    if not path:
        return "the model is trained"
    return f"the model is trained; test it with: {_command(trainer, 'test', path)}"


def _newest(trainer: Trainer, known: set[Path]) -> str:
    """Return the newest checkpoint that a run can go on from; in other processes they did the saving."""
    callbacks = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    written = {
        str(path)
        for each in callbacks
        for path in (each.last_model_path, each.best_model_path)
        if path and not each.save_weights_only
    }
    paths = {path for path in map(Path, written) if path.exists()} or _files(trainer) - known
    return str(max(paths, key=lambda path: path.stat().st_mtime)) if paths else ""


def _files(trainer: Trainer) -> set[Path]:
    """Return the checkpoints in a folder that this process has not written to itself."""
    if trainer.is_global_zero and hasattr(trainer.strategy.launcher, "_already_fit"):
        folder = Path(checkpoint_folder(trainer))  # in which file names may make others
        found = {path: path.relative_to(folder).parents for path in folder.rglob("[!.]*.ckpt")}
        return {path for path, above in found.items() if not any(each.suffix == ".ckpt" for each in above)}
    return set()


def _command(trainer: Trainer, command: str, checkpoint: str) -> str:
    config = known_file(trainer, "config.yaml")
    if config is None:
        return f"croloss {command} with the same options and --ckpt_path {shlex.quote(_short(checkpoint))}"
    words = ["croloss", command, "--config", _short(config), "--ckpt_path", _short(checkpoint)]
    return shlex.join(words)


def _short(path: str | Path) -> str:
    """Return a path as short as it is from the current folder."""
    if "://" in str(path):
        return str(path)
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative

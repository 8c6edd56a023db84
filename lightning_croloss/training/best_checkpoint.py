"""Which of the checkpoints that a run has kept is its best."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher


def best_checkpoint(trainer: Trainer) -> str:
    """Return the path of the best checkpoint of a run, "" if none was kept.

    Lightning's ``trainer.checkpoint_callback`` is the first of the list, which may keep every so many steps.
    """
    keeper = keeper_of_the_best(trainer)
    return "" if keeper is None else paths_of_the_best(trainer)[keeper.state_key]


def keeper_of_the_best(trainer: Trainer) -> Checkpoint | None:
    """Return the callback whose checkpoint is the best of a run, None if none has kept one.

    It is the first that monitors something, or else the first; before both comes one that says of itself, by
    an attribute ``is_result``, that it keeps what the run has made.
    """
    paths = paths_of_the_best(trainer)
    kept = [callback for callback in trainer.checkpoint_callbacks if paths[callback.state_key]]
    return next(iter(sorted(kept, key=_order)), None)  # in which those that are alike stay in their order


def paths_of_the_best(trainer: Trainer) -> dict[str, str]:
    """Return the best that each callback has kept, "" for none, by the key of its state."""
    told = _told_by_processes(trainer)
    return {
        callback.state_key: str(
            getattr(callback, "best_model_path", "") or told.get(callback.state_key) or ""
        )
        for callback in trainer.checkpoint_callbacks
    }


def _told_by_processes(trainer: Trainer) -> Mapping[str, str]:
    """Return what processes of the trainer's own have told their model; Lightning tells of one callback."""
    launcher = trainer.strategy.launcher
    if not (isinstance(launcher, _MultiProcessingLauncher) and launcher._already_fit):
        return {}
    told: Mapping[str, str] = getattr(trainer.lightning_module, "best_checkpoints", {})
    return told


def _order(callback: Checkpoint) -> tuple[bool, bool]:
    return not getattr(callback, "is_result", False), getattr(callback, "monitor", None) is None

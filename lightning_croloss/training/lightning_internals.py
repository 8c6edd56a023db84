"""What exact resume uses of Lightning that Lightning does not promise, and what is said where it is missing.

Some of it is only set: a release that knows another name would not mind, and the run would go on otherwise.
"""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch import Trainer
from lightning.pytorch.loops import fit_loop as loops_of_fits

_PROGRESS = ("total", "current")
_COUNTS = ("ready", "started", "processed", "completed")
_ANY_LOOP = ("_restarting", "reset_restart_stage")
#: By the part of the trainer that has it.
_OF_LOOPS: dict[str, tuple[str, ...]] = {
    "fit_loop": (
        *_ANY_LOOP,
        "_can_stop_early",
        "_combined_loader",
        "_combined_loader_states_to_load",
        "_data_fetcher",
        "_load_combined_loader_states",
        "_restart_stage",
        "epoch_progress",
        "max_batches",
        "on_advance_end",
        "restarted_mid_epoch",
    ),
    "fit_loop.epoch_progress": _PROGRESS,
    "fit_loop.epoch_progress.current": _COUNTS,
    "fit_loop.epoch_loop": (
        *_ANY_LOOP,
        "_batches_that_stepped",
        "_is_training_done",
        "_num_ready_batches_reached",
        "_results",
        "_should_accumulate",
        "_should_check_val_fx",
        "_skip_next_val",
        "batch_progress",
        "on_advance_end",
        "update_lr_schedulers",
    ),
    "fit_loop.epoch_loop.batch_progress": (*_PROGRESS, "is_last_batch"),
    "fit_loop.epoch_loop.batch_progress.current": _COUNTS,
    "fit_loop.epoch_loop.val_loop": (*_ANY_LOOP, "batch_progress"),
    "fit_loop.epoch_loop.automatic_optimization": _ANY_LOOP,
    "fit_loop.epoch_loop.manual_optimization": _ANY_LOOP,
}
#: By the name of a callback of Lightning's.
_OF_CALLBACKS: dict[str, tuple[str, ...]] = {
    "ModelCheckpoint": (
        "_defer_save_until_validation",
        "_last_checkpoint_saved",
        "_last_global_step_saved",
        "_legacy_state_key",
        "current_score",
    ),
    "StochasticWeightAveraging": ("_average_model", "_scheduler_state", "n_averaged"),
}
#: What a checkpoint says of the loops.
_STATES = ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict")


def missing_internals(trainer: Trainer) -> list[str]:
    """Return the names, from the trainer on, of what exact resume needs and this Lightning lacks."""
    absent = object()
    missing = []
    for path, names in _OF_LOOPS.items():
        part: Any = trainer
        for name in path.split("."):
            part = getattr(part, name, absent)
        missing += [f"{path}.{name}" for name in names if not hasattr(part, name)]
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        for cls in type(callback).__mro__:
            if cls.__module__.startswith("lightning."):
                names = _OF_CALLBACKS.get(cls.__name__, ())
                missing += [f"{cls.__name__}.{name}" for name in names if not hasattr(callback, name)]
    if not hasattr(getattr(loops_of_fits, "RestartStage", None), "RESTARTED_MID_EPOCH"):
        missing.append("fit_loop: RestartStage.RESTARTED_MID_EPOCH")
    if not missing:
        kept = trainer.fit_loop.state_dict()
        missing += [f"fit_loop.state_dict()[{name!r}]" for name in _STATES if name not in kept]
    return list(dict.fromkeys(missing))


def lacking(missing: list[str]) -> str:
    """Return a clause that names the installed Lightning and what it lacks."""
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"lightning {lightning.__version__} lacks {missing[0]}{more}, by which a run of this "
        "lightning-croloss goes on exactly"
    )


def refuse_to_resume(missing: list[str]) -> None:
    """Refuse to go on with a run that would go on otherwise.

    Raises:
        ValueError: something is missing.
    """
    if missing:
        raise ValueError(
            f"{lacking(missing)}: install lightning 2.6, or a newer lightning-croloss, or start a new run "
            "from the weights of the checkpoint with --pretrained"
        )

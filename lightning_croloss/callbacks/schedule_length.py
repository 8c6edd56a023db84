"""The number of steps that fractions of schedules refer to: of the training, or of the one that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from lightning_croloss.schedules import Schedule
from lightning_croloss.training.steps import counts_batches, steps_in_all

#: What the names of the callbacks' states begin with in a checkpoint.
STATE = "CROLossCallback"
_OR_IN_STEPS = " or max_steps, or give begin and until in optimizer steps"


def state_key(names: Mapping[str, Any]) -> str:
    """Return the name of the state of a callback that schedules these."""
    return f"{STATE}[{','.join(names)}]"


def training_length(trainer: Trainer, schedules: Mapping[str, Schedule]) -> int | None:
    """Return the number of steps of the training, None if it has no known end and none is needed.

    Raises:
        ValueError: one is needed, for a fraction of it.
    """
    if (total := steps_in_all(trainer)) is not None:
        return total
    fractions = {
        name
        for name, schedule in schedules.items()
        if any(0.0 < moment <= 1.0 for moment in schedule.places())
    }
    by_batches = counts_batches(trainer)
    if fractions and by_batches and trainer.max_steps != -1:
        raise ValueError(
            f"CROLossCallback: the schedule of {', '.join(sorted(fractions))} ends at a fraction of the "
            f"training, but max_steps={trainer.max_steps} does not say how many batches that is under "
            "manual optimization: set trainer.max_epochs alone, give begin and until in batches, or let "
            "training_step set the values by a LossScheduler"
        )
    if fractions:
        raise ValueError(
            f"CROLossCallback: the schedule of {', '.join(sorted(fractions))} ends at a fraction of the "
            "training, whose length is unknown: set trainer.max_epochs"
            f"{', or give begin and until in batches' if by_batches else _OR_IN_STEPS}"
        )
    return None


def length_in(state: Mapping[str, Any]) -> int | None:
    """Return the length that the state of a callback holds, None if it was unknown.

    Raises:
        ValueError: it is no length.
    """
    total = state.get("total_steps")
    if total is not None and (type(total) is not int or total < 1):
        raise ValueError(
            f"CROLossCallback: the state in the checkpoint has total_steps={total!r:.80}, which must be a "
            "whole number of at least 1"
        )
    return total


def nearest_state(states: Mapping[Any, Any], names: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the state of the callback that had most of these schedules, None if there was no callback.

    All callbacks of a training have its length: one that has a schedule more or fewer in the run that goes
    on, or is new there, takes it from another.

    Args:
        states: those of all callbacks in a checkpoint.
        names: the names of what is scheduled now.
    """
    best, most = None, -1
    for key, state in states.items():
        if not isinstance(key, str) or not key.startswith(f"{STATE}[") or not isinstance(state, Mapping):
            continue
        # earlier checkpoints hold 1 where the length was unknown
        if length_in(state) in (None, 1):
            continue
        common = len(names.keys() & key.removeprefix(STATE).strip("[]").split(","))
        if common > most:
            best, most = state, common
    return best

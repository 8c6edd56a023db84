"""Checks of schedules before training begins: which loss, which values, at which steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from torch import nn

from lightning_croloss.errors import suggest
from lightning_croloss.losses import RetrievalLoss
from lightning_croloss.schedules.curves import Constant, Schedule

#: At how many steps, spread over the training, a schedule is looked at before it begins.
LOOKED_AT = 256


def find_loss(module: nn.Module, who: str) -> RetrievalLoss:
    """Return the one ``RetrievalLoss`` of a module, which may be the module itself.

    Raises:
        ValueError: the module holds none, or more than one.
    """
    losses = [child for child in module.modules() if isinstance(child, RetrievalLoss)]
    if len(losses) != 1:
        raise ValueError(
            f"{who} needs a module with one RetrievalLoss as an attribute, "
            f"{type(module).__name__} has {len(losses)}"
        )
    return losses[0]


def as_schedules(given: Mapping[str, Any], who: str) -> dict[str, Schedule]:
    """Return what is scheduled by name; a number is a constant, and None leaves the loss's own value.

    Raises:
        TypeError: a value is neither a number nor a schedule.
    """
    found: dict[str, Schedule] = {}
    for name, value in given.items():
        if isinstance(value, Real) and not isinstance(value, bool):
            value = Constant(_finite(who, name, value))
        if isinstance(value, Schedule):
            found[name] = value
        elif value is not None:
            raise TypeError(
                f"{who}: {name} must be a number or a schedule such as Linear(0.4, 0.1), got {value!r}"
            )
    return found


def check_schedules(
    who: str, loss: RetrievalLoss, schedules: Mapping[str, Schedule], total_steps: int | None = None
) -> None:
    """Check that a loss has what is scheduled, and can take every value.

    Args:
        who: the class that schedules, for the sentence.
        loss: the loss.
        schedules: the schedules, by name.
        total_steps: number of optimizer steps of the training, if it is known: then values between the
            extremes are looked at too.

    Raises:
        ValueError: the loss has no such value, or must not have it set so.
    """
    known = loss.schedulable()
    for name, schedule in schedules.items():
        learned = name == "temperature" and loss.raw_temperature is not None
        if learned or (name in known and known[name].requires_grad):
            raise ValueError(
                f"{who} schedules {name!r}, which is a parameter that the loss learns: leave the schedule "
                f"or learnable_{name}=True out"
            )
        if name not in known and not (name == "n" and loss.follows_n):
            raise ValueError(
                f"{who} schedules {name!r}, which {_describe(loss)} does not have{suggest(name, known)}"
            )
        for value in schedule.extremes():
            _check(who, loss, name, value, "")
        if total_steps is not None:
            for step in _steps(schedule, total_steps):
                _check(who, loss, name, schedule.value(step, total_steps), f" at step {step}")


def _steps(schedule: Schedule, total: int) -> Iterator[int]:
    """Yield steps spread over the training, and those around the moments that the schedule was given."""
    yield from range(0, total, max(1, total // LOOKED_AT))
    yield total
    for moment in schedule.places():
        step = int(moment * total if moment <= 1.0 else moment)
        yield from (near for near in (step - 1, step, step + 1) if 0 <= near <= total)


def _check(who: str, loss: RetrievalLoss, name: str, value: Any, when: str) -> None:
    try:
        loss.check_value(name, _finite(who, name, value))
    except ValueError as error:
        raise ValueError(f"{who}, schedule of {name!r}{when}: {error}") from error


def _finite(who: str, name: str, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{who}, schedule of {name!r}: a value must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")
    return float(value)


def _describe(loss: RetrievalLoss) -> str:
    importance = getattr(loss, "importance", None)
    return type(loss).__name__ + (f" with {type(importance).__name__}" if importance is not None else "")

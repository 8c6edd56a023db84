"""Moments of schedules that a training does not reach, or not in their order."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping

from lightning_croloss.schedules.curves import Ramp, Schedule, Steps, step_of


def warn_of_moments(
    who: str, schedules: Mapping[str, Schedule], total_steps: int, length: int | None = None
) -> None:
    """Warn of each schedule that cannot do in a training what it was given for.

    It is no error: a training may have been shortened to try something out.

    Args:
        who: the class that schedules, for the sentence.
        schedules: the schedules, by name.
        total_steps: number of steps that fractions refer to.
        length: number of steps of the training where it is another, as in one that goes on for longer.
    """
    for name, schedule in schedules.items():
        fault = unreached(schedule, total_steps, total_steps if length is None else length)
        if fault:
            warnings.warn(
                f"{who}, schedule of {name!r}: {fault}", stacklevel=4
            )  # where the schedules were given


def unreached(schedule: Schedule, total: int, length: int) -> str | None:
    """Return what a schedule cannot do in a training of ``length`` steps, None if it can do everything.

    Args:
        schedule: any schedule; of one of another class than ours only its places are looked at.
        total: number of steps that fractions refer to.
        length: number of steps of the training.
    """
    if isinstance(schedule, Ramp):
        return _of_ramp(schedule, total, length)
    return _of_places(schedule, total, length)


def _of_ramp(ramp: Ramp, total: int, length: int) -> str | None:
    first, last = step_of(ramp.begin, total), step_of(ramp.until, total)
    begins, ends = _told("begin", ramp.begin, first), _told("until", ramp.until, last)
    if ramp.start == ramp.end:
        return None
    if last < first and last < length:
        return (
            f"{begins} comes after {ends} in a training of {total} steps, so the value jumps from "
            f"{ramp.start:g} to {ramp.end:g}: give both in the same unit"
        )
    if first >= length:
        return (
            f"{begins} is not reached in a training of {length} steps, so the value stays at {ramp.start:g}: "
            "give a fraction, or train for longer"
        )
    if last > length:
        return (
            f"{ends} is not reached in a training of {length} steps, so the value gets from {ramp.start:g} "
            f"to {ramp.value(length, total):g} and not to {ramp.end:g}: give a fraction, or train for longer"
        )
    return None


def _of_places(schedule: Schedule, total: int, length: int) -> str | None:
    named = "milestone" if isinstance(schedule, Steps) else "moment"
    moments = [(moment, step_of(moment, total)) for moment in schedule.places()]
    for moment, step in moments:
        if step >= length and not (named == "moment" and step == length):
            return (
                f"{_told(named, moment, step)} is not reached in a training of {length} steps: give a "
                "fraction, or train for longer"
            )
    for (moment, step), (later, its) in itertools.pairwise(moments):
        if named == "milestone" and its < step:
            return (
                f"{_told(named, later, its)} comes before {_told(named, moment, step)} in a training of "
                f"{total} steps: give all in the same unit"
            )
    return None


def _told(name: str, moment: float, step: float) -> str:
    return f"{name}={moment:g}" + (f" (step {step:.10g})" if moment <= 1.0 else "")

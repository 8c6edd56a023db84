"""The plan of a search, made once and kept: what it costs at most, or what there is time for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.tune.budget import Budget, shortened
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.common.files import write_atomically
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.plan import FitLength, Plan, Rung, make_plan, plan_for_all
from lightning_croloss.tuning.records import Records, damaged, read_record

#: What a search costs at most where nobody says, in fits.
FITS = 2.5
PLAN = "plan.json"


@dataclass(frozen=True)
class Schedule:
    """A plan, and the fit that it is made for.

    Attributes:
        plan: the plan.
        length: the length of a fit.
        fields: fields of the trainer that make the fit shorter, where there is no time for a whole one.
    """

    plan: Plan
    length: FitLength
    fields: Mapping[str, Any] = field(default_factory=dict)


def schedule_of(
    records: Records,
    candidates: Sequence[Candidate],
    number: int,
    length: FitLength,
    request: Request,
    open_ended: bool,
    budget: Budget | None,
    config: Mapping[str, Any],
) -> Schedule:
    """Return the plan of a search; one that was made stays, whatever it was made from.

    Args:
        records: the records of the search.
        candidates: the settings that are known.
        number: how many there are to be.
        length: the length of a fit.
        request: what is asked.
        open_ended: whether the cost follows from the settings, unless a bound is given.
        budget: the time that there is; None if that does not count.
        config: of a fit.

    Raises:
        ValueError: the folder holds a search of other settings.
    """
    path = records.folder / PLAN
    names = [candidate.name for candidate in candidates]
    if path.exists():
        content = read_record(path)
        if content.get("candidates") != names:
            raise ValueError(
                f"--output: {records.folder} holds a search that tries other settings, perhaps of another "
                "release: choose another folder"
            )
        return _read(content, path)
    schedule = _new(number, length, request, open_ended, budget, config)
    plan = schedule.plan
    if plan.num_candidates < number:
        what = "there is no time for" if budget else f"more do not fit into {request.fits or FITS:g} fits"
        rest = "" if budget else ": --fits gives them more"
        many = number - plan.num_candidates
        told = f"{what} {many} more" if budget else f"{what}{rest}"
        say(f"the first {plan.num_candidates} of {number} settings are tried: {told}")
    content = {"candidates": names, **_plain(schedule)}
    write_atomically(path, json.dumps(content, indent=1).encode())
    return schedule


def _new(
    number: int,
    length: FitLength,
    request: Request,
    open_ended: bool,
    budget: Budget | None,
    config: Mapping[str, Any],
) -> Schedule:
    objectives = len(request.objectives)
    if budget is not None:
        plan = budget.plan(number, objectives, request.fits)
        needed = budget.seconds(plan)
        if needed <= budget.left:
            return Schedule(plan, length)
        fields, shorter = shortened(config, length, max(0.0, budget.left - budget.speed.other) / needed)
        told = ", ".join(f"trainer.{name} {value}" for name, value in fields.items())
        say(f"there is no time for a whole fit: {told}")
        return Schedule(make_plan(1, shorter, 1.0, 1), shorter, fields)
    if request.fits is not None or not open_ended:
        return Schedule(make_plan(number, length, request.fits or FITS, objectives), length)
    return Schedule(plan_for_all(number, length, FITS, objectives), length)


def _plain(schedule: Schedule) -> dict[str, Any]:
    plan = schedule.plan
    return {
        "num_candidates": plan.num_candidates,
        "rungs": [asdict(rung) for rung in plan.rungs],
        "cost": plan.cost,
        "length": asdict(schedule.length),
        "fields": dict(schedule.fields),
    }


def _read(content: Mapping[str, Any], path: Path) -> Schedule:
    try:
        rungs = tuple(Rung(**each) for each in content["rungs"])
        plan = Plan(content["num_candidates"], rungs, content["cost"])
        return Schedule(plan, read_length(content["length"], path), content["fields"])
    except (LookupError, TypeError):
        raise ValueError(damaged(path)) from None


def read_length(content: Mapping[str, Any], path: Path) -> FitLength:
    """Return the length of a fit that was written down in a file.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        length = FitLength(**{name: content[name] for name in FitLength.__dataclass_fields__})
        at = length.resumable
        validations, resumable = tuple(length.validations), None if at is None else tuple(at)
    except (LookupError, TypeError):
        raise ValueError(damaged(path)) from None
    return replace(length, validations=validations, resumable=resumable)


__all__ = ["FITS", "PLAN", "Schedule", "read_length", "schedule_of"]

"""The plan of a search, made once and kept: what it costs at most, or what there is time for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.tune.budget import Budget, shortened
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.plan import FitLength, Plan, Rung, make_plan, plan_for_all
from lightning_croloss.tuning.records import Records, read_record, write_record

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
        tried, planned = read_record(path, lambda content: (content["candidates"], _planned(content)))
        if tried != names:
            raise ValueError(
                f"--output: {records.folder} holds a search that tries other settings, perhaps of another "
                "release: choose another folder"
            )
        return planned
    schedule = _new(number, length, request, open_ended, budget, config)
    plan = schedule.plan
    if plan.num_candidates < number:
        what = "there is no time for" if budget else f"more do not fit into {request.fits or FITS:g} fits"
        rest = "" if budget else ": --fits gives them more"
        many = number - plan.num_candidates
        told = f"{what} {many} more" if budget else f"{what}{rest}"
        say(f"the first {plan.num_candidates} of {number} settings are tried: {told}")
    write_record(path, {"candidates": names, **_plain(schedule)})
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
        again = budget.again()  # the further seeds take as long as their winner
        share = max(0.0, budget.left + again - budget.speed.other) / (needed + again)
        fields, shorter = shortened(config, length, share)
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


def _planned(content: Mapping[str, Any]) -> Schedule:
    rungs = tuple(
        Rung(int(each["step"]), int(each["keep"]), bool(each["validates"])) for each in content["rungs"]
    )
    plan = Plan(int(content["num_candidates"]), rungs, float(content["cost"]))
    return Schedule(plan, length_from(content["length"]), dict(content["fields"]))


def length_from(content: Mapping[str, Any]) -> FitLength:
    """Return the length of a fit that a record holds."""
    at = content["resumable"]
    return FitLength(
        int(content["steps"]),
        tuple(int(step) for step in content["validations"]),
        int(content["validation_batches"]),
        None if at is None else tuple(int(step) for step in at),
    )


__all__ = ["FITS", "PLAN", "Schedule", "length_from", "schedule_of"]

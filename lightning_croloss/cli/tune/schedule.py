"""The plan of a search, made once and kept: what it costs at most, or what there is time for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.tune.budget import FITS, Budget
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.cli.tune.shorter import shorter_fits
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.plan import FitLength, Plan, Rung, make_plan, plan_for_all
from lightning_croloss.tuning.records import Records, read_record, write_record

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
        return within(budget, number, objectives, request.fits, config)
    if request.fits is not None or not open_ended:
        return Schedule(make_plan(number, length, request.fits or FITS, objectives), length)
    return Schedule(plan_for_all(number, length, FITS, objectives), length)


def within(
    budget: Budget, number: int, objectives: int, fits: float | None, config: Mapping[str, Any]
) -> Schedule:
    """Return the largest plan of whole fits that there is time for, or one of shorter fits that tries more.

    Args:
        budget: the time that there is.
        number: how many settings there are.
        objectives: how many objectives share the runs.
        fits: the most that it may cost; None if only the time counts.
        config: of a fit.
    """
    whole = budget.plan(number, objectives, fits)
    usual = min(FITS, fits or FITS)
    wanted = make_plan(number, budget.length, usual, objectives).num_candidates
    if whole is not None and whole.num_candidates >= wanted:
        return Schedule(whole, budget.length)
    fields, shorter, plan = shorter_fits(budget, wanted, objectives, usual, config)
    if whole is not None and whole.num_candidates >= plan.num_candidates:
        return Schedule(whole, budget.length)
    told = ", ".join(f"trainer.{name} {value}" for name, value in fields.items())
    what = f"to compare whole fits of {wanted} settings" if wanted > 1 else "for a whole fit"
    say(f"there is no time {what}: they are shorter, {told}")
    return Schedule(plan, shorter, fields)


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
        int(content["batches_per_epoch"]),
    )


__all__ = ["FITS", "PLAN", "Schedule", "length_from", "schedule_of", "within"]

"""Plan: how many candidates train how far, within a budget of fits. Pure arithmetic.

The unit is the training step (one batch); a validation batch counts as one.
"""

from __future__ import annotations

import bisect
import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

#: Where rungs are, as fractions of the steps; the first of these ladders that holds the bound is taken.
LADDERS = (
    (1 / 2,),
    (1 / 4, 1 / 2),
    (1 / 8, 1 / 4, 1 / 2),
    (1 / 8, 1 / 4),
    (1 / 4,),
    (1 / 8,),
    (1 / 16, 1 / 8, 1 / 4, 1 / 2),
    (1 / 16, 1 / 8),
    (1 / 16,),
)
#: How far, as a factor, a rung may be moved to a step at which the fit validates anyway.
NEAR = 1.6


@dataclass(frozen=True)
class FitLength:
    """The length of one fit, in training steps (batches, whatever ``accumulate_grad_batches`` is).

    Args:
        steps: training steps of the whole fit.
        validations: the steps after which it validates, ascending.
        validation_batches: batches of one validation.
        resumable: the steps at which it can be taken up again exactly, ascending; None if at any.
        batches_per_epoch: training steps of an epoch; None is all of them.
    """

    steps: int
    validations: tuple[int, ...]
    validation_batches: int
    resumable: tuple[int, ...] | None = None
    batches_per_epoch: int | None = None

    @property
    def epoch(self) -> int:
        """Training steps of an epoch."""
        return self.batches_per_epoch or self.steps

    @property
    def cost(self) -> float:
        """What a fit costs, in steps; one that never validates is validated once, at its end."""
        return self.steps + self.validation_batches * max(1, len(self.validations))


@dataclass(frozen=True)
class Rung:
    """A step up to which every candidate that is still in trains, and how many go on from there.

    Args:
        step: training steps since the beginning of the fit; that of the last rung is the fit's length.
        keep: how many candidates go on at most, over all objectives.
        validates: whether a validation is made for it, since the fit itself makes none there.
    """

    step: int
    keep: int
    validates: bool = False


@dataclass(frozen=True)
class Plan:
    """How many candidates train how far.

    Args:
        num_candidates: how many begin: the first ones of the list.
        rungs: in order; the last one is the end of the fit.
        cost: training steps and validation batches at most, relative to those of one fit.
    """

    num_candidates: int
    rungs: tuple[Rung, ...]
    cost: float

    def entering(self) -> list[int]:
        """Return how many candidates train up to each rung at most."""
        return [self.num_candidates, *(rung.keep for rung in self.rungs[:-1])]

    def to_plain(self) -> dict[str, Any]:
        """Return a dictionary of plain values, for files."""
        rungs = [{"step": rung.step, "keep": rung.keep} for rung in self.rungs]
        return {"num_candidates": self.num_candidates, "rungs": rungs}


def make_plan(num_candidates: int, length: FitLength, fits: float = 2.5, num_objectives: int = 1) -> Plan:
    """Choose how many candidates train how far, so that all of it costs at most ``fits``.

    Rungs are at about 1/8, 1/4 and 1/2 of the steps (seven candidates, then four, two and one), moved to a
    validation of the fit where one is near, which is then not paid for twice. A larger budget judges later
    and lets more finish. Where the bound would break there are fewer rungs, and then fewer candidates.

    Args:
        num_candidates: how many there are, the most promising ones first.
        length: the length of one fit.
        fits: the budget, in fits of full length.
        num_objectives: how many objectives share the runs: each further one lets one candidate more go on at
            each rung, which adds at most one fit to the budget.

    Raises:
        ValueError: the budget does not even hold one fit, or a number is out of range.
    """
    _check(num_candidates, length, fits, num_objectives)
    planner = _Planner(length, num_objectives)
    for number in range(num_candidates, 0, -1):
        if (found := planner.plan(number, fits)) is not None:
            return found
    raise AssertionError("unreachable: one candidate alone costs one fit")


def plan_for_all(num_candidates: int, length: FitLength, fits: float = 2.5, num_objectives: int = 1) -> Plan:
    """Choose how far the candidates train, so that each has a turn, whatever that costs.

    Args:
        num_candidates: how many there are.
        length: the length of one fit.
        fits: the budget, in fits of full length, which grows by quarters until it holds all of them.
        num_objectives: how many objectives share the runs.

    Raises:
        ValueError: the budget does not even hold one fit, or a number is out of range.
    """
    _check(num_candidates, length, fits, num_objectives)
    planner = _Planner(length, num_objectives)
    while (found := planner.plan(num_candidates, fits)) is None:
        fits += 0.25
    return found


def plan_cost(num_candidates: int, rungs: Sequence[Rung], length: FitLength) -> float:
    """Return what a plan costs at most, in fits.

    Args:
        num_candidates: how many candidates begin.
        rungs: in order.
        length: the length of one fit.
    """
    total, begin, number = 0, 0, num_candidates
    for rung in rungs:
        total += number * _segment_cost(begin, rung.step, rung.validates, length)
        begin, number = rung.step, min(number, rung.keep)
    return total / length.cost


@dataclass(frozen=True)
class _Placement:
    """Where the rungs of a ladder are, and what one candidate costs from each to the next."""

    steps: tuple[int, ...]
    validates: tuple[bool, ...]
    costs: tuple[int, ...]
    moved: float


class _Planner:
    """Finds plans for a fit; what does not depend on the number of candidates is worked out once."""

    def __init__(self, length: FitLength, num_objectives: int) -> None:
        self._length = length
        self._num_objectives = num_objectives
        self._placements: dict[tuple[float, ...], tuple[list[_Placement], list[int]]] = {}

    def plan(self, number: int, fits: float) -> Plan | None:
        """Return the plan for so many candidates; None if the budget does not hold it."""
        for ladder in ((), *LADDERS) if number <= fits else LADDERS:
            for finishing in range(min(number, int(min(fits, number))), 0, -1):
                found = self._placed(number, ladder, _keeps(number, finishing, len(ladder)), fits)
                if found is not None:
                    return found
        return None

    def _placed(
        self, number: int, ladder: tuple[float, ...], keeps: Sequence[int], fits: float
    ) -> Plan | None:
        """Return the plan whose rungs validate least and are moved least; None if none is cheap."""
        if ladder not in self._placements:
            placements = _placements(ladder, self._length)
            least = [min(costs) for costs in zip(*(each.costs for each in placements), strict=True)]
            self._placements[ladder] = placements, least
        placements, least = self._placements[ladder]
        entering = [_entering(number, keeps, extra) for extra in range(self._num_objectives)]
        bounds = [(fits + extra, numbers) for extra, numbers in enumerate(entering)]
        if not placements or not self._holds(bounds, least):  # which no placement could do better than
            return None
        found = next((each for each in placements if self._holds(bounds, each.costs)), None)
        if found is None:
            return None
        going = [*entering[-1][1:], min(number, self._num_objectives)]
        rungs = tuple(
            Rung(step, keep, validates)
            for step, keep, validates in zip(
                (*found.steps, self._length.steps), going, found.validates, strict=True
            )
        )
        return Plan(number, rungs, plan_cost(number, rungs, self._length))

    def _holds(self, bounds: Sequence[tuple[float, Sequence[int]]], costs: Sequence[int]) -> bool:
        return all(
            sum(map(operator.mul, numbers, costs)) / self._length.cost <= bound for bound, numbers in bounds
        )


def _entering(number: int, keeps: Sequence[int], extra: int) -> list[int]:
    """Return how many candidates train up to each rung, where so many more go on than ``keeps`` says."""
    return [number, *(min(number, keep + extra) for keep in keeps)]


def _placements(ladder: Sequence[float], length: FitLength) -> list[_Placement]:
    """Return where the rungs of a ladder may be; first where they validate least, then moved least."""
    found = []
    for steps in itertools.product(*(list(_near(fraction, length)) for fraction in ladder)):
        if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
            continue
        validates = (*(not _validates(step, length) for step in steps), not length.validations)
        costs, begin = [], 0
        for step, apart in zip((*steps, length.steps), validates, strict=True):
            costs.append(_segment_cost(begin, step, apart, length))
            begin = step
        moved = sum(
            abs(math.log(step / (fraction * length.steps)))
            for step, fraction in zip(steps, ladder, strict=True)
        )
        found.append(_Placement(steps, validates, tuple(costs), moved))
    return sorted(found, key=lambda each: (sum(each.validates), each.moved))


def _segment_cost(begin: int, end: int, validates: bool, length: FitLength) -> int:
    """Return what a candidate costs between two steps, with a validation of its own at the end or not."""
    own = bisect.bisect_right(length.validations, end) - bisect.bisect_right(length.validations, begin)
    return end - begin + length.validation_batches * (own + validates)


def _validates(step: int, length: FitLength) -> bool:
    """Tell whether the fit itself validates after a step."""
    after = bisect.bisect_left(length.validations, step)
    return length.validations[after : after + 1] == (step,)


def _keeps(number: int, finishing: int, rungs: int) -> list[int]:
    """Return how many go on from each rung, fewer by the same factor every time: 7, then 4, 2 and 1."""
    return [
        max(finishing, math.ceil(number * (finishing / number) ** (rung / rungs) - 1e-9))
        for rung in range(1, rungs + 1)
    ]


def _near(fraction: float, length: FitLength) -> Iterator[int]:
    """Yield the steps at which a rung may be that is wanted at a fraction of the fit."""
    wanted = fraction * length.steps
    at: set[int] = set()
    for steps in (length.validations, length.resumable or ()):
        after = bisect.bisect_left(steps, wanted)
        at |= {*steps[max(0, after - 1) : after + 1]}
    at = {step for step in at if 1 / NEAR <= step / wanted <= NEAR} | {max(1, round(wanted))}
    if length.resumable is not None:
        at &= set(length.resumable)
        at = at or {*length.resumable[bisect.bisect_left(length.resumable, wanted) :][:1]}
    yield from sorted(step for step in at if 0 < step < length.steps)


def _check(num_candidates: int, length: FitLength, fits: float, num_objectives: int) -> None:
    if num_candidates < 1:
        raise ValueError(f"num_candidates must be at least 1, got {num_candidates}")
    if num_objectives < 1:
        raise ValueError(f"num_objectives must be at least 1, got {num_objectives}")
    if length.steps < 1:
        raise ValueError(f"a fit must have at least 1 training step, got {length.steps}")
    if not fits >= 1.0:
        raise ValueError(f"fits must be at least 1, as the winner is trained to the end, got {fits}")

"""Plan: how many candidates train how far, within a budget of fits. Pure arithmetic.

The unit is the training step (one batch); a validation batch counts as one.
"""

from __future__ import annotations

import bisect
import itertools
import math
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
    """

    steps: int
    validations: tuple[int, ...]
    validation_batches: int
    resumable: tuple[int, ...] | None = None

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
    for number in range(num_candidates, 0, -1):
        for ladder in ((), *LADDERS) if number <= fits else LADDERS:
            for finishing in range(min(number, int(min(fits, number))), 0, -1):
                keeps = _keeps(number, finishing, len(ladder))
                found = _placed(number, ladder, keeps, length, fits, num_objectives)
                if found is not None:
                    return found
    raise AssertionError("unreachable: one candidate alone costs one fit")


def plan_cost(num_candidates: int, rungs: Sequence[Rung], length: FitLength) -> float:
    """Return what a plan costs at most, in fits.

    Args:
        num_candidates: how many candidates begin.
        rungs: in order.
        length: the length of one fit.
    """
    total, begin, number = 0, 0, num_candidates
    for rung in rungs:
        until = bisect.bisect_right(length.validations, rung.step)
        validations = until - bisect.bisect_right(length.validations, begin) + rung.validates
        total += number * (rung.step - begin + length.validation_batches * validations)
        begin, number = rung.step, min(number, rung.keep)
    return total / length.cost


def _placed(
    number: int,
    ladder: Sequence[float],
    keeps: Sequence[int],
    length: FitLength,
    fits: float,
    num_objectives: int,
) -> Plan | None:
    """Return the plan of a ladder whose rungs are moved least and validate least; None if none is cheap."""
    best: tuple[tuple[int, float], Plan] | None = None
    options = [list(_near(fraction, length)) for fraction in ladder]
    for steps in itertools.product(*options):
        if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
            continue
        plans = [_plan(number, steps, keeps, extra, length) for extra in range(num_objectives)]
        if any(plan.cost > fits + extra for extra, plan in enumerate(plans)):
            continue
        moved = sum(
            abs(math.log(step / (fraction * length.steps)))
            for step, fraction in zip(steps, ladder, strict=True)
        )
        key = (sum(rung.validates for rung in plans[-1].rungs), moved)
        if best is None or key < best[0]:
            best = key, plans[-1]
    return None if best is None else best[1]


def _plan(number: int, steps: Sequence[int], keeps: Sequence[int], extra: int, length: FitLength) -> Plan:
    rungs = [
        Rung(step, min(number, keep + extra), not _validates(step, length))
        for step, keep in zip(steps, keeps, strict=True)
    ]
    rungs.append(Rung(length.steps, min(number, 1 + extra), not length.validations))
    return Plan(number, tuple(rungs), plan_cost(number, rungs, length))


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

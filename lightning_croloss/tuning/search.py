"""Successive halving: who trains how far, and who wins; independent of how the jobs are executed.

Rungs are synchronous: nobody goes on before everybody has come to the rung. So the outcome does not depend
on timing, nor on how many jobs run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightning_croloss.tuning.candidate import Candidate, check_candidates
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.plan import Plan


@dataclass(frozen=True)
class Job:
    """Train one candidate up to a rung, from where it stands.

    Args:
        number: the number of the candidate, from 0 on.
        candidate: the candidate.
        rung: the number of the rung, from 0 on.
        step: training steps since the beginning of the fit.
        last: whether this is the end of the fit: it is not stopped then, but ends by itself.
    """

    number: int
    candidate: Candidate
    rung: int
    step: int
    last: bool


#: Executes jobs, one after the other or side by side, and yields what came of each in any order.
Execute = Callable[[Sequence[Job]], Iterable[tuple[Job, Outcome]]]
#: Takes each job when it is about to execute it, so that there may be fewer than it seemed.
ExecuteEach = Callable[[Iterable[Job]], Iterable[tuple[Job, Outcome]]]
#: Is given the candidates so far with what came of them at the first rung, and returns one more to try there,
#: or None if none is left.
Propose = Callable[[Sequence[tuple[Candidate, Outcome]]], Candidate | None]


class SearchFailedError(RuntimeError):
    """All candidates failed: the message holds the error of the first."""


@dataclass(frozen=True)
class Choice:
    """What a search has found.

    Args:
        candidates: all that were tried; a candidate's number is its position here.
        objectives: what was looked for.
        winners: for each objective the number of the best candidate among those that finished.
        outcomes: for each rung what came of the candidates that trained up to it, by number.
        kept: for each rung the numbers of those that went on.
    """

    candidates: tuple[Candidate, ...]
    objectives: tuple[Objective, ...]
    winners: tuple[int, ...]
    outcomes: tuple[Mapping[int, Outcome], ...]
    kept: tuple[tuple[int, ...], ...]

    def latest(self, number: int) -> Outcome:
        """Return how a candidate stood at the last rung that it came to."""
        return next(by_number[number] for by_number in reversed(self.outcomes) if number in by_number)


def search(
    candidates: Sequence[Candidate],
    plan: Plan,
    objectives: Sequence[Objective],
    execute: Execute,
    propose: Propose | None = None,
    leave: Callable[[int], object] | None = None,
) -> Choice:
    """Train all candidates up to the first rung, the best of them to the second, and so on to the end.

    Args:
        candidates: the most promising ones first: of equals the first goes on. Those beyond
            ``plan.num_candidates`` are left out.
        plan: the rungs.
        objectives: what is looked for. With several, those who go on are the best of each in turn, and each
            has a winner of its own among those that finish.
        execute: trains.
        propose: asked for one candidate after the other, once all others are at the first rung, until there
            are as many as the plan has or it returns None.
        leave: called with the number of each candidate that is out; one whose fit has ended early never is:
            it is compared to the end, at no cost.

    Raises:
        ValueError: there are no candidates or objectives, or two of them have the same name.
        SearchFailedError: all candidates that were left have failed.
    """
    tried = list(candidates[: plan.num_candidates])
    check_candidates(tried)
    if not objectives:
        raise ValueError("objectives is empty: give at least one")
    numbers: list[int] = list(range(len(tried)))
    outcomes: list[dict[int, Outcome]] = []
    kept: list[tuple[int, ...]] = []
    for index, rung in enumerate(plan.rungs):

        def run(numbers: Sequence[int], index: int = index, step: int = rung.step) -> dict[int, Outcome]:
            jobs = [
                Job(number, tried[number], index, step, index == len(plan.rungs) - 1) for number in numbers
            ]
            return {job.number: outcome for job, outcome in execute(jobs)} if jobs else {}

        # one that has ended early is compared on, as its figures stand
        ended = {n: outcomes[-1][n] for n in numbers if outcomes and outcomes[-1][n].finished}
        found = ended | run([number for number in numbers if number not in ended])
        while index == 0 and propose is not None and len(tried) < plan.num_candidates:
            proposed = propose([(tried[number], found[number]) for number in sorted(found)])
            if proposed is None:
                break
            tried.append(proposed)
            check_candidates(tried)
            found |= run([len(tried) - 1])
        at_rung = {number: found[number] for number in sorted(found)}
        outcomes.append(at_rung)
        alive = {number: outcome for number, outcome in at_rung.items() if outcome.error is None}
        if not alive:
            raise _all_failed(tried, at_rung)
        going = {number: outcome for number, outcome in alive.items() if not outcome.finished}
        numbers = list(alive) if rung is plan.rungs[-1] else best_of(going, objectives, rung.keep)
        numbers = sorted({*numbers, *(alive.keys() - going.keys())})
        kept.append(tuple(numbers))
        for number in at_rung.keys() - set(numbers):
            if leave is not None:
                leave(number)
    winners = tuple(best_of(outcomes[-1], [objective], 1)[0] for objective in objectives)
    return Choice(tuple(tried), tuple(objectives), winners, tuple(outcomes), tuple(kept))


def best_of(outcomes: Mapping[int, Outcome], objectives: Sequence[Objective], keep: int) -> list[int]:
    """Return the numbers of the best candidates, ascending: the best of each objective in turn.

    Of candidates that are equal the one of the smaller number is better; those that failed are left out.

    Args:
        outcomes: how each candidate stands, by number.
        objectives: what is looked for.
        keep: how many are returned at most.
    """
    alive = sorted(number for number, outcome in outcomes.items() if outcome.error is None)
    orders = [_ordered(alive, outcomes, objective) for objective in objectives]
    chosen: list[int] = []
    while len(chosen) < min(keep, len(alive)):
        for order in orders:
            best = next((number for number in order if number not in chosen), None)
            if best is not None and len(chosen) < keep:
                chosen.append(best)
    return sorted(chosen)


def _ordered(numbers: Sequence[int], outcomes: Mapping[int, Outcome], objective: Objective) -> list[int]:
    return sorted(numbers, key=lambda number: -outcomes[number].value(objective))


def _all_failed(tried: Sequence[Candidate], outcomes: Mapping[int, Outcome]) -> SearchFailedError:
    number, outcome = next(iter(outcomes.items()))
    which = "the only candidate" if len(outcomes) == 1 else f"all {len(outcomes)} candidates"
    left = " that were left" if len(outcomes) < len(tried) else ""
    return SearchFailedError(f"{which}{left} failed; {tried[number].name!r}: {outcome.error}")

"""A search within a time: its plan is made from the measured speed, and made smaller where that was too fast.

The outcome then depends on the speed of the machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lightning_croloss.cli.messages import say
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.plan import FitLength, Plan, make_plan
from lightning_croloss.tuning.search import Execute, ExecuteEach, Job, Propose, best_of

#: What a search costs at most where nobody says, in fits.
FITS = 2.5
#: The budgets, in fits, of which the largest is taken that fits into the time.
BUDGETS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0)
#: What is kept back of the time, besides what the end needs; and settings at most.
MARGIN, MOST = 0.04, 60


@dataclass(frozen=True)
class Speed:
    """How fast a machine trains.

    Attributes:
        step: seconds of a training step.
        validation: seconds of a validation.
        other: seconds of all that a run does besides, such as loading the data.
    """

    step: float
    validation: float
    other: float

    def slower(self, factor: float) -> Speed:
        """Return another one, of which everything takes ``factor`` times as long."""
        return Speed(self.step * factor, self.validation * factor, self.other * factor)

    def segment(self, length: FitLength, begin: int, end: int, validates: bool) -> float:
        """Return the seconds of a run between two steps."""
        validations = sum(begin < step <= end for step in length.validations) + validates
        return self.other + self.step * (end - begin) + self.validation * validations


class Budget:
    """The time of a search.

    Args:
        minutes: all of it.
        began: when it began, by ``time.monotonic``.
        speed: how fast the machine trains.
        length: the length of a fit.
        processes: how many runs are made side by side.
        objectives: how many winners there are, each of which is tested.
        seeds: with how many further seeds each winner is trained and tested.
    """

    def __init__(
        self,
        minutes: float,
        began: float,
        speed: Speed,
        length: FitLength,
        processes: int,
        objectives: int = 1,
        seeds: int = 0,
    ) -> None:
        self.speed = speed
        self.length = length
        self.seeds = seeds
        self._end = began + 60 * minutes * (1 - MARGIN)
        self._processes = processes
        self._objectives = objectives

    @property
    def rest(self) -> float:
        """Seconds until all is to be over."""
        return self._end - time.monotonic()

    @property
    def left(self) -> float:
        """Seconds for the runs of the search: tests and further seeds come after them."""
        return self.until_tests - self.again()

    @property
    def deadline(self) -> float:
        """When the last run of the search must end, in seconds since 1970; a winner precedes its seeds."""
        return time.time() + self.until_tests

    @property
    def until_tests(self) -> float:
        """Seconds until the search itself must have ended: a last validation and its tests come after it."""
        return self.rest - self.speed.validation - self.tests(self._objectives) - 1.0

    def tests(self, number: int) -> float:
        """Return the seconds of so many tests, one after the other."""
        return number * (self.speed.validation + 1.5 * self.speed.other)

    def again(self) -> float:
        """Return the seconds of training and testing the winners with further seeds."""
        fit = self.speed.segment(self.length, 0, self.length.steps, not self.length.validations)
        return self._rounds_of_seeds * (fit + self.tests(1))

    def besides(self, plan: Plan) -> float:
        """Return the seconds that a plan and the seeds take besides training, however short a fit is."""
        runs = sum(math.ceil(number / self._processes) for number in plan.entering())
        once = self.speed.other + self.speed.validation
        return runs * once + self._rounds_of_seeds * (once + self.tests(1))

    @property
    def _rounds_of_seeds(self) -> int:
        return math.ceil(self._objectives * self.seeds / self._processes)

    def settings(self, losses: int) -> int:
        """Return how many settings of a space there is time for, among shorter fits where it is short."""
        fit = self.speed.segment(self.length, 0, self.length.steps, False)
        fits = max(FITS, self._processes * self.left / fit)
        return max(losses, min(MOST, int(6 * (fits - 1))))

    def plan(self, number: int, objectives: int, fits: float | None) -> Plan | None:
        """Return the largest plan that there is time for; None if there is for none.

        Args:
            number: how many settings there are.
            objectives: how many objectives share the runs.
            fits: the most that it may cost; None if only the time counts.
        """
        most = float(number) if fits is None else fits
        for budget in sorted({most, *(each for each in BUDGETS if each < most)}, reverse=True):
            plan = make_plan(number, self.length, budget, objectives)
            if self.seconds(plan) <= self.left:
                return plan
        return None

    def seconds(self, plan: Plan, first: int = 0, entering: int | None = None) -> float:
        """Return what a plan takes from a rung on.

        Args:
            plan: the plan.
            first: the number of the rung.
            entering: how many candidates train up to it; None is as many as planned.
        """
        return sum(
            math.ceil((planned if entering is None else min(entering, planned)) / self._processes)
            * self._run(plan, index)
            for index, planned in list(enumerate(plan.entering()))[first:]
        )

    def holds(self, plan: Plan, index: int, number: int) -> bool:
        """Tell whether there is time for one more run up to a rung, and for as large a part of the rest.

        Further seeds do not count: the same command goes on with them, but what was given up stays so.

        Args:
            plan: the plan.
            index: the number of the rung.
            number: how many candidates will then have come to it.
        """
        entering = plan.entering()
        rest = sum(
            math.ceil(max(1, number * entering[later] // entering[index]) / self._processes)
            * self._run(plan, later)
            for later in range(index + 1, len(entering))
        )
        return self._run(plan, index) + rest <= self.until_tests

    def _run(self, plan: Plan, index: int) -> float:
        """Return the seconds of one candidate from the rung before to a rung."""
        begin = plan.rungs[index - 1].step if index else 0
        return self.speed.segment(self.length, begin, plan.rungs[index].step, plan.rungs[index].validates)

    def proposing(self, propose: Propose, plan: Plan) -> Propose:
        """Return what proposes candidates only as long as there is time for another."""

        def in_time(tried: Sequence[tuple[Candidate, Outcome]]) -> Candidate | None:
            if any(outcome.error is None for _, outcome in tried) and not self.holds(plan, 0, len(tried) + 1):
                say(f"time is short: {len(tried)} of {plan.num_candidates} settings were tried")
                return None
            return propose(tried)

        return in_time

    def keeping(
        self,
        execute: ExecuteEach,
        plan: Plan,
        objectives: Sequence[Objective],
        before: Callable[[Job], Outcome | None],
    ) -> Execute:
        """Return an executor that leaves out candidates, the worst ones, for which there is no time.

        Args:
            execute: trains.
            plan: the rungs.
            objectives: what is looked for.
            before: tells what a candidate has come to before a job, by an earlier command too.
        """

        def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
            if not jobs:
                return
            index = jobs[0].rung
            known = {job.number: before(job) or Outcome(0) for job in jobs}
            number = len(jobs)
            while number > 1 and self.seconds(plan, index, number) > self.left:
                number -= 1
            kept = best_of(known, objectives, number) if index else [job.number for job in jobs[:number]]
            chosen = [job for job in jobs if job.number in kept]
            if len(chosen) < len(jobs):
                self._tell(len(jobs) - len(chosen), len(jobs))
            begun: list[Job] = []
            alive = done = 0
            clock, expected = time.monotonic(), self._run(plan, index)

            def in_time() -> Iterator[Job]:
                for job in chosen:
                    if alive and not self.holds(plan, index, len(begun) + 1):
                        self._tell(len(chosen) - len(begun), len(jobs))
                        return
                    begun.append(job)
                    yield job

            usual = self.speed
            for job, outcome in execute(in_time()):
                alive, done = alive + (outcome.error is None), done + 1
                rounds = math.ceil(done / self._processes)
                self._learn(usual, time.monotonic() - clock, rounds * expected)
                yield job, outcome
            for job in jobs:
                if job not in begun:
                    yield job, replace(known[job.number], error="given up for want of time")

        return run

    def _learn(self, usual: Speed, seconds: float, expected: float) -> None:
        """Take what runs took, beside what the usual speed promises, for what the next ones will take."""
        if seconds > 1.0 and expected > 0:  # not where everything was recorded already
            self.speed = usual.slower(min(10.0, max(0.2, seconds / expected)))

    @staticmethod
    def _tell(number: int, of: int) -> None:
        say(f"time is short: {number} of {of} settings are given up now")


__all__ = ["FITS", "Budget", "Speed"]

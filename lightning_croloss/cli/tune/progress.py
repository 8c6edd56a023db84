"""What is told of a search while it goes on: lines for who watches, and a study in Optuna's storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.tune.configs import parameters, settings
from lightning_croloss.cli.tune.mirrors import Mirrors
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.plan import FitLength, Plan
from lightning_croloss.tuning.records import Records
from lightning_croloss.tuning.search import Choice, Execute, Job
from lightning_croloss.tuning.space import Dimension
from lightning_croloss.tuning.study import COMPLETE, FAILED, PRUNED, RUNNING, MirroredTrial


class Progress:
    """Follows a search; to be used as a context.

    Args:
        records: its records.
        request: what was asked.
        plan: the plan.
        length: the length of a fit.
        space: the fields that candidates set besides their losses.
    """

    def __init__(
        self,
        records: Records,
        request: Request,
        plan: Plan,
        length: FitLength,
        space: Mapping[str, Dimension],
    ) -> None:
        self._request = request
        self._plan = plan
        self._length = length
        self._space = parameters(space)
        self._candidates: dict[int, Candidate] = {}
        self._outcomes: dict[int, dict[int, Outcome]] = {}
        self._out: set[int] = set()
        self._ended: set[int] = set()
        self._mirrors = Mirrors(records.folder, request.objectives, request.storage, request.command)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._mirrors.close()

    def observing(self, execute: Execute) -> Execute:
        """Return an executor that tells of what another one does."""

        def run(jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
            for job in jobs:
                self._candidates.setdefault(job.number, job.candidate)
            if jobs:
                self._announce(jobs)
            self._mirror()
            for job, outcome in execute(jobs):
                self._outcomes.setdefault(job.number, {})[job.step] = outcome
                if job.last or outcome.finished:
                    self._ended.add(job.number)
                self._tell(job, outcome)
                self._mirror()
                yield job, outcome

        return run

    def leaving(self, leave: Callable[[int], object]) -> Callable[[int], object]:
        """Return what is called with each candidate that is out."""

        def out(number: int) -> None:
            self._out.add(number)
            self._mirror()
            leave(number)

        return out

    def finish(self, choice: Choice) -> None:
        """Note that all is over."""
        self._out |= set(range(len(choice.candidates))) - self._ended
        self._mirror()

    def _announce(self, jobs: Sequence[Job]) -> None:
        first = jobs[0]
        many = f"{len(jobs)} settings" if len(jobs) > 1 else first.candidate.name
        where = "to the end" if first.last else f"up to step {first.step:,} of {self._length.steps:,}"
        say(f"rung {first.rung + 1} of {len(self._plan.rungs)}: {many} {where}")

    def _tell(self, job: Job, outcome: Outcome) -> None:
        if outcome.error is not None:
            say(f"  {job.candidate.name} failed: {outcome.error}")
            return
        values = ", ".join(f"{each} {outcome.value(each):.4f}" for each in self._request.objectives)
        say(f"  {job.candidate.name}: {values}")

    def _mirror(self) -> None:
        self._mirrors.write(
            lambda objective: [self._trial(each, objective) for each in sorted(self._candidates)],
            space=self._space,
        )

    def _trial(self, number: int, objective: Objective) -> MirroredTrial:
        outcomes = [outcome for _, outcome in sorted(self._outcomes.get(number, {}).items())]
        values = {each.step: each.value(objective) for each in outcomes if each.error is None}
        state, value = RUNNING, None
        attributes: dict[str, object] = {}
        if outcomes:
            attributes["seconds"] = round(outcomes[-1].seconds, 1)
            if outcomes[-1].error is not None:
                state, attributes["error"] = FAILED, outcomes[-1].error
            elif number in self._ended:
                state, value = COMPLETE, outcomes[-1].value(objective)
            elif number in self._out:
                state = PRUNED
        candidate = self._candidates[number]
        return MirroredTrial(candidate.name, settings(candidate), values, state, value, attributes)


__all__ = ["Progress"]

"""The winners of a search with further seeds: as many of them as there is time for, if that counts."""

from __future__ import annotations

import math
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.seed_results import SeedRun, keep_and_print
from lightning_croloss.cli.tune.budget import Budget
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.cli.tune.runs import Runs, best_checkpoint, refuse_to_go_on
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.records import write_record
from lightning_croloss.tuning.search import Choice

OUTCOME = "outcome.json"
#: Share of the winner's training steps below which a run is no fair comparison, and this is said.
FAIR = 0.9


class SeedRuns:
    """Trains and tests each winner with further seeds.

    Args:
        choice: what the search has found.
        runs: its runs.
        request: what was asked.
        seed: that of the search.
        budget: the time that there is; None if that does not count.
    """

    def __init__(
        self, choice: Choice, runs: Runs, request: Request, seed: int, budget: Budget | None
    ) -> None:
        self._choice, self._runs, self._request = choice, runs, request
        self._seed, self._budget = seed, budget

    def run(self) -> None:
        """Train and test what there is time for, print mean and deviation, and name what is left out.

        Raises:
            ValueError: a run failed.
        """
        # a seed for each winner before the next seed for any
        wanted = [
            (number, seed) for seed in self._request.seeds for number in dict.fromkeys(self._choice.winners)
        ]
        waiting = [each for each in wanted if not (self._folder(*each) / OUTCOME).exists()]
        while waiting:
            now = waiting if self._budget is None else waiting[: self._request.processes]
            if self._budget is not None and self._seconds(now) > self._budget.rest:
                break
            say(f"seeds: {len(now)} more {'run' if len(now) == 1 else 'runs'} to the end")
            self._train(now)
            waiting = waiting[len(now) :]
        for at, objective in enumerate(self._choice.objectives):
            number = self._choice.winners[at]
            left = [seed for seed in self._request.seeds if (number, seed) in waiting]
            self._print(number, objective, [seed for seed in self._request.seeds if seed not in left])
            if left:
                self._say_left_out(objective, left)

    def _train(self, now: Sequence[tuple[int, int]]) -> None:
        """Train some runs, side by side, and test them."""
        tasks = []
        ends = math.inf
        if self._budget is not None:
            ends = time.time() + self._budget.rest - self._testing(now) - self._budget.speed.validation
        for number, seed in now:
            folder = self._folder(number, seed)
            shutil.rmtree(folder, ignore_errors=True)
            config = self._runs.written(self._choice.candidates[number], folder, {"seed_everything": seed})
            task = {"do": "train", "config": str(config), "step": None, "save": str(folder / "end.ckpt")}
            tasks.append(task if self._budget is None else task | {"deadline": ends})
        for at, answer in self._runs.workers.run(tasks):
            refuse_to_go_on(answer)
            if "error" in answer:
                raise ValueError(f"a run with another seed failed: {answer['error']}")
            number, seed = now[at]
            share = answer["result"]["step"] / self._choice.latest(number).step
            if share < FAIR and time.time() >= ends:  # before it by early stopping
                say(f"  seed {seed} has had {share:.0%} of the winner's training steps: the time was over")
            write_record(self._folder(number, seed) / OUTCOME, answer["result"])
        self._runs.tests(
            [
                (folder, objective, best_checkpoint(folder, objective))
                for number, seed in now
                for folder in [self._folder(number, seed)]
                for objective in self._won(number)
            ]
        )

    def _seconds(self, now: Sequence[tuple[int, int]]) -> float:
        """Return what it takes to train and test some runs side by side: as long as their winners took."""
        assert self._budget is not None
        trained = max(self._choice.latest(number).seconds for number, _ in now)
        return trained + self._budget.speed.other + self._testing(now)

    def _testing(self, now: Sequence[tuple[int, int]]) -> float:
        assert self._budget is not None
        tests = sum(len(self._won(number)) for number, _ in now)
        return self._budget.tests(math.ceil(tests / self._request.processes))

    def _print(self, number: int, objective: Objective, seeds: Sequence[int]) -> None:
        """Print what a winner reaches with some seeds."""
        if not seeds:
            return
        folders = [self._folder(number, seed) for seed in seeds]
        best = [best_checkpoint(folder, objective) for folder in folders]
        folders.insert(0, self._runs.records.candidate_folder(number))
        best.insert(0, self._request.folder / f"best_{objective.label}.ckpt")
        tested = self._runs.tests(
            [(folder, objective, each) for folder, each in zip(folders, best, strict=True)]
        )
        rows = zip([self._seed, *seeds], folders, tested, strict=True)
        found = [SeedRun(seed, str(folder), metrics) for seed, folder, metrics in rows]
        title = f"{objective}: {self._choice.candidates[number].name}"
        keep_and_print(found, self._request.folder, objective.label, title)

    def _say_left_out(self, objective: Objective, seeds: Sequence[int]) -> None:
        fit = fit_with_seeds(self._request.folder / f"best_{objective.label}.yaml", seeds)
        say(
            f"--seeds: there is no time for {len(seeds)} of {1 + len(self._request.seeds)} seeds of "
            f"{objective}: the same command goes on with them, or train them by themselves: {fit}"
        )

    def _won(self, number: int) -> list[Objective]:
        """Return the objectives by which a candidate is the best one."""
        return [
            objective
            for objective, winner in zip(self._choice.objectives, self._choice.winners, strict=True)
            if winner == number
        ]

    def _folder(self, number: int, seed: int) -> Path:
        return self._runs.records.folder / "seeds" / f"{number:02d}_{seed}"


def fit_with_seeds(config: Path, seeds: Sequence[int]) -> str:
    """Return the command that trains a config with seeds for which a search had no time."""
    option = "--seeds" if len(seeds) > 1 else "--seed_everything"
    return shlex.join(["croloss", "fit", "--config", str(config), option, ",".join(map(str, seeds))])


__all__ = ["FAIR", "OUTCOME", "SeedRuns", "fit_with_seeds"]

"""The winner of a search by the clock with further seeds, in what is left of the time."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.seed_results import SeedRun, keep_and_print
from lightning_croloss.cli.tune.runs import best_checkpoint, refuse_to_go_on
from lightning_croloss.cli.tune.seed_runs import FAIR, OUTCOME, fit_with_seeds
from lightning_croloss.cli.tune.table.runs import TableRuns
from lightning_croloss.tuning.records import numbers, read_record, write_record


class Seeds:
    """Trains a winner with further seeds, each for as many steps as the winner.

    Args:
        runs: the runs of the search.
        winner: the number of the winner.
        seeds: the further seeds.
        processes: how many are trained side by side.
        end: when all is to be over, by ``clock``.
        test: the seconds that a test takes.
        clock: the time in seconds.
    """

    def __init__(
        self,
        runs: TableRuns,
        winner: int,
        seeds: Sequence[int],
        processes: int,
        end: float,
        test: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs, self._winner, self._seeds, self._processes = runs, winner, seeds, processes
        self._end, self._test, self._clock = end, test, clock

    def run(self, first: SeedRun, title: str) -> list[SeedRun]:
        """Train and test each seed for which there is time, and print and keep what they reach.

        Args:
            first: the winner's own run.
            title: what stands above the table.

        Raises:
            ValueError: a run failed.
        """
        waiting = [seed for seed in self._seeds if not (self._folder(seed) / OUTCOME).exists()]
        while waiting:
            rounds = math.ceil(len(waiting) / self._processes)
            seconds = (self._end - self._clock()) / rounds - self._test
            if seconds <= self._runs.besides:
                self._say_left_out(waiting)
                break
            now, waiting = waiting[: self._processes], waiting[self._processes :]
            steps = f"{self._runs.progress[self._winner].step:,} training steps"
            say(f"seed {', '.join(map(str, now))}: {steps}, as the winner")
            self._train(now, seconds)
        found = [first, *(self._read(seed) for seed in self._seeds if seed not in waiting)]
        if len(found) > 1:
            keep_and_print(found, self._runs.folder, self._runs.objective.label, title)
        return found

    def _say_left_out(self, seeds: Sequence[int]) -> None:
        fit = fit_with_seeds(self._runs.folder / f"best_{self._runs.objective.label}.yaml", seeds)
        say(
            f"--seeds: there is no time for {len(seeds)} of {1 + len(self._seeds)} seeds: give more "
            f"--minutes, or train by themselves: {fit}"
        )

    def _folder(self, seed: int) -> Path:
        return self._runs.seed_folder(self._winner, seed)

    def _read(self, seed: int) -> SeedRun:
        metrics = read_record(self._folder(seed) / OUTCOME, lambda content: numbers(content["metrics"]))
        return SeedRun(seed, str(self._folder(seed)), metrics)

    def _train(self, seeds: Sequence[int], seconds: float) -> None:
        """Train some seeds side by side, and test them."""
        steps = self._runs.progress[self._winner].step
        configs = []
        for seed in seeds:
            shutil.rmtree(self._folder(seed), ignore_errors=True)
            configs.append(str(self._runs.seed_config(self._winner, seed)))
        shared = {"seconds": seconds, "steps": steps, "objective": self._runs.objective.to_plain()}
        shared |= {"do": "train_for", "validation": self._runs.validation}
        shared |= {"falling": self._runs.progress[self._winner].falling}
        saves = [str(self._folder(seed) / "end.ckpt") for seed in seeds]
        trained = self._done(
            [shared | {"config": each, "save": save} for each, save in zip(configs, saves, strict=True)]
        )
        tests = []
        for seed, config, result in zip(seeds, configs, trained, strict=True):
            (self._folder(seed) / "end.ckpt").unlink(missing_ok=True)
            if (share := result["step"] / steps) < FAIR and not result["settled"]:
                say(f"  seed {seed} has had {share:.0%} of the winner's training steps: the time was over")
            checkpoint = best_checkpoint(self._folder(seed), self._runs.objective)
            tests.append({"do": "test", "config": config, "checkpoint": str(checkpoint)})
        for seed, result, metrics in zip(seeds, trained, self._done(tests), strict=True):
            write_record(self._folder(seed) / OUTCOME, {"metrics": metrics, "step": result["step"]})

    def _done(self, tasks: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Do tasks side by side, and return their results in their order."""
        results: dict[int, Any] = {}
        for at, answer in self._runs.workers.run(tasks):
            if "error" in answer:
                refuse_to_go_on(answer)
                raise ValueError(f"a run with another seed failed: {answer['error']}")
            results[at] = answer["result"]
        return [results[at] for at in range(len(tasks))]


__all__ = ["Seeds"]

"""The runs of a search: the config of each, and what executes them in processes side by side."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from lightning_croloss.cli.tune.base import Config
from lightning_croloss.cli.tune.configs import candidate_config, judged_by, run_config, unwatched
from lightning_croloss.common.files import write_atomically
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.outcome import Outcome
from lightning_croloss.tuning.records import Records, numbers, read_record, write_record
from lightning_croloss.tuning.search import Job

CONFIG = "config.yaml"
CHECKPOINTS = "checkpoints"
#: Which checkpoint of a finished run is best, by which metric.
BEST = "best.json"


class TaskRunner(Protocol):
    """What does the tasks of :mod:`lightning_croloss.cli.tune.work`."""

    def run(self, tasks: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Do tasks, and yield the answer of each with its number, in any order."""
        ...


class Runs:
    """The runs of a search.

    Args:
        base: the config of a fit.
        records: what happened so far.
        workers: what does the work.
        objectives: what is looked for.
        num_items: size of the catalogue.
        gpus: whether there are several GPUs.
    """

    def __init__(
        self,
        base: Config,
        records: Records,
        workers: TaskRunner,
        objectives: Sequence[Objective],
        num_items: int,
        gpus: bool = False,
    ) -> None:
        self.records = records
        self.objectives = objectives
        self.workers = workers
        self.deadline: Callable[[], float] | None = None
        self._base = base
        self._ns = sorted({n for objective in objectives for n in objective.weights})
        self._num_items = num_items
        self._gpus = gpus
        self._configs: dict[str, Config] = {}

    @property
    def group(self) -> str:
        """What trackers call the search."""
        return self.records.folder.resolve().name

    def config_of(self, candidate: Candidate, objective: Objective) -> Config:
        """Return the config of a candidate, which fits as it is and keeps what is best by an objective."""
        return judged_by(self._config(candidate), [objective])

    def override(self, fields: Mapping[str, Any]) -> None:
        """Set fields of the trainer for all that follows."""
        self._base = self._base | {"trainer": self._base["trainer"] | dict(fields)}
        self._configs.clear()

    def written(
        self,
        candidate: Candidate,
        folder: Path,
        fields: Mapping[str, Any] | None = None,
        logged: bool = True,
    ) -> Path:
        """Write the config of a run to its folder, and return the file.

        Args:
            candidate: the candidate.
            folder: the folder.
            fields: further fields of the top level, such as the seed.
            logged: whether the run is logged.
        """
        config = self._config(candidate) | dict(fields or {})
        config = judged_by(config, self.objectives)
        own = run_config(config, folder.absolute(), candidate.name, self.group, self._gpus)
        if not logged:
            own = unwatched(own, folder.absolute())
        path = folder / CONFIG
        write_atomically(path, yaml.safe_dump(own, sort_keys=False, allow_unicode=True).encode())
        return path

    def execute(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Train candidates up to a rung, side by side; a failure is an outcome too.

        Args:
            jobs: each is taken when a process is free for it.

        Raises:
            ValueError: one failed by what is no fault of its own.
        """
        begun: list[Job] = []

        def tasks() -> Iterator[dict[str, Any]]:
            for job in jobs:
                begun.append(job)
                yield self._task(job)

        for number, answer in self.workers.run(tasks()):
            job = begun[number]
            refuse_to_go_on(answer)
            yield job, outcome_of(answer, self.records.start_of(job)[1])

    def tests(self, wanted: Sequence[tuple[Path, Objective, Path]]) -> list[dict[str, float]]:
        """Return what the tests of checkpoints measure, side by side; each is measured once.

        Args:
            wanted: of each the folder of its run, what is looked for, and the file.

        Raises:
            ValueError: a test failed.
        """
        records = [folder / f"test_{objective.label}.json" for folder, objective, _ in wanted]
        missing = [at for at, path in enumerate(records) if not path.exists()]
        tasks = [
            {"do": "test", "config": str(wanted[at][0] / CONFIG), "checkpoint": str(wanted[at][2])}
            for at in missing
        ]
        for number, answer in self.workers.run(tasks) if tasks else ():
            if "error" in answer:
                raise ValueError(f"the winner could not be tested: {answer['error']}")
            write_record(records[missing[number]], answer["result"])
        return [read_record(path, numbers) for path in records]

    def leave(self, number: int) -> None:
        """Remove the checkpoints of a candidate that is out."""
        self.records.leave(number)
        shutil.rmtree(self.records.candidate_folder(number) / CHECKPOINTS, ignore_errors=True)

    def _config(self, candidate: Candidate) -> Config:
        if candidate.name not in self._configs:
            config = candidate_config(self._base, candidate, self._ns, self._num_items)
            self._configs[candidate.name] = config
        return self._configs[candidate.name]

    def _task(self, job: Job) -> dict[str, Any]:
        folder = self.records.candidate_folder(job.number)
        resume, before = self.records.start_of(job)
        return {
            "do": "train",
            "config": str(self.written(job.candidate, folder)),
            "step": None if job.last else job.step,
            "save": str(self.records.state(job.number, job.step)),
            "resume": None if resume is None else str(resume),
            "before": None if before is None else before.to_plain(),
            "deadline": self.deadline() if job.last and self.deadline is not None else None,
        }


def refuse_to_go_on(answer: Mapping[str, Any]) -> None:
    """Let what any run would have met, such as a full disk, count against none of them.

    Raises:
        ValueError: the answer of a process tells of such a thing.
    """
    if answer.get("ends"):
        raise ValueError(f"{answer['error']}; what was done is kept, and the same command goes on")


def best_checkpoint(folder: Path, objective: Objective) -> Path:
    """Return the best checkpoint of the run of a folder, which may have moved since."""
    return read_record(folder / BEST, lambda best: folder / str(best[objective.monitor]))


def outcome_of(answer: Mapping[str, Any], before: Outcome | None) -> Outcome:
    """Return the outcome of a run from the answer of the process that did it.

    Raises:
        ValueError: see :func:`refuse_to_go_on`.
    """
    if "error" not in answer:
        return Outcome.from_plain(answer["result"])
    refuse_to_go_on(answer)
    earlier = before or Outcome(0)
    return Outcome(earlier.step, earlier.validations, False, answer["error"], earlier.seconds)


__all__ = [
    "BEST",
    "CHECKPOINTS",
    "CONFIG",
    "Runs",
    "TaskRunner",
    "best_checkpoint",
    "outcome_of",
    "refuse_to_go_on",
]

"""A search from its beginning to what it hands back; from where it was, if it was ended before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_croloss.cli.tune.base import Base
from lightning_croloss.cli.tune.budget import Budget, Speed
from lightning_croloss.cli.tune.configs import run_config, unwatched
from lightning_croloss.cli.tune.folder import open_records
from lightning_croloss.cli.tune.mirrors import check_storage
from lightning_croloss.cli.tune.progress import Progress
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.cli.tune.results import hand_back
from lightning_croloss.cli.tune.runs import Runs, TaskRunner
from lightning_croloss.cli.tune.schedule import length_from, schedule_of
from lightning_croloss.cli.tune.settings import all_candidates, read_section
from lightning_croloss.cli.tune.workers import Workers, visible_gpus
from lightning_croloss.common.files import write_atomically
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.plan import FitLength
from lightning_croloss.tuning.records import Records, numbers, read_record, write_record
from lightning_croloss.tuning.search import Choice, Propose, SearchFailedError, search
from lightning_croloss.tuning.study import require_optuna

#: How long a fit is.
LENGTH = "length.json"
#: How many settings are tried with ``tpe`` where nobody says.
TPE_TRIALS = 20


def run_search(base: Base, request: Request) -> Choice:
    """Search, and hand back what was found.

    Args:
        base: the config of a fit.
        request: what is asked.

    Raises:
        ValueError: something in it is wrong, or every setting failed.
    """
    began = time.monotonic() if request.began is None else request.began
    _check(request)
    space, losses = read_section(base)
    folder = request.folder
    settings = {"config": base.config, "tune": base.section, **request.to_plain()}
    records = open_records(folder, settings, request.overwrite)
    gpus = visible_gpus(torch.cuda.device_count()) if torch.cuda.device_count() > 1 else []
    with make_workers(request.processes, folder / "logs", gpus) as workers:
        length, num_items, known_users = _measured(
            base, records, workers, bool(gpus), request.objectives[0].metric
        )
        losses = losses or portfolio_for(request.ns, num_items, known_users)
        runs = Runs(base.config, records, workers, request.objectives, num_items, bool(gpus))
        budget = None
        if request.minutes is not None:
            speed = _speed(runs, losses[0], folder, request.minutes)
            many = len(request.objectives), len(request.seeds)
            budget = Budget(request.minutes, began, speed, length, request.processes, *many)
        trials = _trials(request, len(losses), budget if space else None)
        tpe = request.sampler == "tpe"
        candidates = all_candidates(losses, {} if tpe else space, len(losses) if tpe else trials, base.seed)
        for candidate in candidates:  # what is wrong with one shows before any is trained
            runs.config_of(candidate, request.objectives[0])
        propose: Propose | None = None
        if tpe:
            from lightning_croloss.tuning.tpe import proposing

            fixed = losses if base.section.get("losses") else None
            propose = proposing(space, request.objectives, fixed, base.seed)
        number = trials if tpe and trials is not None else len(candidates)
        schedule = schedule_of(
            records, candidates, number, length, request, bool(space) or tpe, budget, base.config
        )
        runs.override(schedule.fields)
        execute = records.remembering(runs.execute)
        if budget is not None:
            budget.length = schedule.length
            runs.deadline = lambda: budget.deadline
            kept = budget.keeping(
                runs.execute, schedule.plan, request.objectives, lambda job: records.start_of(job)[1]
            )
            execute = records.remembering(kept)
            propose = budget.proposing(propose, schedule.plan) if propose is not None else None
        with Progress(records, request, schedule.plan, schedule.length, space) as progress:
            execute, leave = progress.observing(execute), progress.leaving(runs.leave)
            try:
                choice = search(candidates, schedule.plan, request.objectives, execute, propose, leave)
            except SearchFailedError as error:
                raise ValueError(
                    f"{error}; what they said is in {folder / 'logs'}, and --overwrite tries again"
                ) from None
            progress.finish(choice)
        hand_back(choice, runs, request, base, schedule, began, budget)
    return choice


def make_workers(processes: int, logs: Path, gpus: Sequence[str]) -> Workers:
    """Return what does the work."""
    return Workers(processes, logs, gpus)


def portfolio_for(ns: Sequence[int], num_items: int, known_users: bool = False) -> list[Candidate]:
    """Return the losses that are tried where nobody names others."""
    from lightning_croloss.tuning.portfolio import portfolio

    return list(portfolio(ns, num_items, known_users=known_users))


def _check(request: Request) -> None:
    """Refuse what contradicts itself, and what needs a package that is not there."""
    if request.sampler == "tpe":
        require_optuna("--sampler tpe")
        if request.processes > 1:
            raise ValueError("--sampler tpe draws one setting after the other: leave --processes out")
    check_storage(request.storage)
    if request.fits is not None and request.fits < 1:
        raise ValueError(
            f"--fits must be at least 1, as the winner is trained to its end, got {request.fits}"
        )


def _measured(
    base: Base, records: Records, workers: TaskRunner, gpus: bool, metric: str
) -> tuple[FitLength, int, bool]:
    """Return how long a fit is, the size of its catalogue, and whether users must be known; all is kept."""
    path = records.folder / LENGTH
    if not path.exists():
        config = write_scratch(base, records, gpus)
        ((_, answer),) = workers.run([{"do": "measure", "config": str(config), "metric": metric}])
        if "error" in answer:
            raise ValueError(answer["error"])
        write_record(path, answer["result"])

    def of_record(content: dict[str, Any]) -> tuple[FitLength, int, bool]:
        return length_from(content), int(content["num_items"]), content.get("known_users") is True

    return read_record(path, of_record)


def write_scratch(base: Base, records: Records, gpus: bool) -> Path:
    """Write the config of a run of which nothing is kept."""
    import yaml

    folder = records.folder.absolute() / "logs" / "length"
    config = run_config(base.config, folder, "length", records.folder.name, gpus)
    config = unwatched(config, folder)
    path = folder / "config.yaml"
    write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode())
    return path


def _speed(runs: Runs, candidate: Candidate, folder: Path, minutes: float) -> Speed:
    """Return how fast the first setting trains; it is measured once."""
    path = folder / "speed.json"
    if not path.exists():
        config = runs.written(candidate, folder / "logs" / "speed", {}, logged=False)
        ((_, answer),) = runs.workers.run([{"do": "speed", "config": str(config), "seconds": 0.6 * minutes}])
        if "error" in answer:
            raise ValueError(answer["error"])
        write_record(path, answer["result"])
    return read_record(path, lambda content: Speed(**numbers(content)))


def _trials(request: Request, losses: int, budget: Budget | None) -> int | None:
    if request.sampler != "tpe":
        return budget.settings(losses) if budget and request.trials is None else request.trials
    trials = request.trials if request.trials is not None else max(TPE_TRIALS, losses + 1)
    if trials <= losses:
        raise ValueError(
            f"--trials {trials}: the {losses} losses come first: give more, or leave --sampler out"
        )
    return trials


__all__ = ["Request", "make_workers", "portfolio_for", "run_search"]

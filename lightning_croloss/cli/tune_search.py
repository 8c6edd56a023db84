"""A search from its beginning to what it hands back; from where it was, if it was ended before."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lightning_croloss.cli.messages import say
from lightning_croloss.cli.tune_base import Base
from lightning_croloss.cli.tune_configs import run_config
from lightning_croloss.cli.tune_progress import Progress
from lightning_croloss.cli.tune_results import hand_back
from lightning_croloss.cli.tune_runs import Runs, TaskRunner
from lightning_croloss.cli.tune_settings import all_candidates, read_section
from lightning_croloss.cli.tune_workers import Workers, visible_gpus
from lightning_croloss.common.files import write_atomically
from lightning_croloss.tuning.candidate import Candidate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.plan import FitLength, Plan, Rung, make_plan
from lightning_croloss.tuning.records import SEARCH, Records
from lightning_croloss.tuning.search import Choice, Propose, search
from lightning_croloss.tuning.study import require_optuna

#: What a search costs at most where nobody says, in fits, and how many settings are tried with ``tpe``.
FITS, TPE_TRIALS = 2.5, 20
PLAN = "plan.json"


@dataclass(frozen=True)
class Request:
    """What is asked of a search.

    Attributes:
        objectives: what is looked for; each has a winner.
        fits: what it may cost, in fits of full length; None is 2.5, or what the settings need.
        minutes: what it may take.
        trials: how many settings are tried; None is what there are.
        sampler: how settings beyond the portfolio are drawn.
        processes: how many runs are made side by side.
        seeds: with which the winner is trained again.
        storage: the URL of a storage of Optuna; None is a file in the folder.
        folder: where everything is kept.
        overwrite: whether the folder may hold another search, which is then removed.
        command: the whole command line.
    """

    objectives: tuple[Objective, ...]
    folder: Path
    fits: float | None = None
    minutes: float | None = None
    trials: int | None = None
    sampler: str = "random"
    processes: int = 1
    seeds: tuple[int, ...] = ()
    storage: str | None = None
    overwrite: bool = False
    command: str = "croloss tune"

    @property
    def ns(self) -> list[int]:
        """All N that are looked at."""
        return sorted({n for objective in self.objectives for n in objective.weights})

    def to_plain(self) -> dict[str, Any]:
        """Return what the outcome depends on."""
        objectives = [objective.to_plain() for objective in self.objectives]
        names = ("fits", "minutes", "trials", "sampler")
        return {"objectives": objectives} | {name: value for name, value in asdict(self).items() if name in names}


def run_search(base: Base, request: Request) -> Choice:
    """Search, and hand back what was found.

    Args:
        base: the config of a fit.
        request: what is asked.

    Raises:
        ValueError: something in it is wrong.
        SearchFailedError: every setting failed.
    """
    began = time.monotonic()
    _check(request)
    space, losses = read_section(base)
    folder = request.folder
    if request.overwrite and (folder / SEARCH).exists():
        shutil.rmtree(folder)
    records = _records(folder, {"config": base.config, "tune": base.section, **request.to_plain()})
    gpus = visible_gpus(torch.cuda.device_count()) if torch.cuda.device_count() > 1 else []
    with make_workers(request.processes, folder / "logs", gpus) as workers:
        measured = _measured(base, records, workers, bool(gpus))
        length = _length(measured)
        losses = losses or portfolio_for(request.ns, measured["num_items"])
        runs = Runs(
            base.config, records, workers, request.objectives, measured["num_items"], bool(gpus)
        )
        trials = _trials(request, len(losses))
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
        plan = _plan(records, candidates, number, length, request, bool(space) or tpe)
        progress = Progress(records, request, plan, length)
        observed = progress.observing(records.remembering(runs.execute))
        choice = search(candidates, plan, request.objectives, observed, propose, progress.leaving(runs.leave))
        progress.finish(choice)
        hand_back(choice, runs, request, base, length, time.monotonic() - began)
    return choice


def make_workers(processes: int, logs: Path, gpus: Sequence[str]) -> Workers:
    """Return what does the work."""
    return Workers(processes, logs, gpus)


def portfolio_for(ns: Sequence[int], num_items: int) -> list[Candidate]:
    """Return the losses that are tried where nobody names others."""
    from lightning_croloss.tuning.portfolio import portfolio

    return list(portfolio(ns, num_items))


def _check(request: Request) -> None:
    """Refuse what contradicts itself, and what needs a package that is not there."""
    if request.sampler == "tpe":
        require_optuna("--sampler tpe")
        if request.processes > 1:
            raise ValueError("--sampler tpe draws one setting after the other: leave --processes out")
    if request.storage is not None:
        require_optuna("--storage")
    elif importlib.util.find_spec("optuna") is None:
        say("no storage of Optuna is written, for its dashboard: pip install 'lightning-croloss[tune]'")
    if request.fits is not None and request.fits < 1:
        raise ValueError(f"--fits must be at least 1, as the winner is trained to its end, got {request.fits}")


def _records(folder: Path, settings: dict[str, Any]) -> Records:
    try:
        return Records(folder, settings)
    except ValueError as error:
        raise ValueError(f"--output: {error}") from None


def _measured(base: Base, records: Records, workers: TaskRunner, gpus: bool) -> dict[str, Any]:
    """Return how long a fit is, and the size of its catalogue; they are kept."""
    path = records.folder / "length.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found
    config = write_scratch(base, records, gpus)
    ((_, answer),) = workers.run([{"do": "measure", "config": str(config)}])
    if "error" in answer:
        raise ValueError(answer["error"])
    write_atomically(path, json.dumps(answer["result"]).encode())
    measured: dict[str, Any] = answer["result"]
    return measured


def write_scratch(base: Base, records: Records, gpus: bool) -> Path:
    """Write the config of a run of which nothing is kept."""
    import yaml

    folder = records.folder.absolute() / "logs" / "length"
    config = run_config(base.config, folder, "length", records.folder.name, gpus)
    config["trainer"]["logger"] = False
    path = folder / "config.yaml"
    write_atomically(path, yaml.safe_dump(config, sort_keys=False).encode())
    return path


def _length(measured: dict[str, Any]) -> FitLength:
    at = measured["resumable"]
    return FitLength(
        measured["steps"],
        tuple(measured["validations"]),
        measured["validation_batches"],
        None if at is None else tuple(at),
    )


def _trials(request: Request, losses: int) -> int | None:
    if request.sampler != "tpe":
        return request.trials
    trials = request.trials if request.trials is not None else max(TPE_TRIALS, losses + 1)
    if trials <= losses:
        raise ValueError(f"--trials {trials}: the {losses} losses come first: give more, or leave --sampler out")
    return trials


def _plan(
    records: Records,
    candidates: Sequence[Candidate],
    number: int,
    length: FitLength,
    request: Request,
    open_ended: bool,
) -> Plan:
    """Return the plan of the search; one that was made stays, whatever it was made from."""
    path = records.folder / PLAN
    names = [candidate.name for candidate in candidates]
    if path.exists():
        content = json.loads(path.read_text("utf-8"))
        if content["candidates"] != names:
            raise ValueError(
                f"--output: {records.folder} holds a search of another release, which tries other settings: "
                "choose another folder"
            )
        rungs = tuple(Rung(each["step"], each["keep"], each["validates"]) for each in content["rungs"])
        return Plan(content["num_candidates"], rungs, content["cost"])
    plan = _new_plan(number, length, request, open_ended)
    if plan.num_candidates < number:
        say(
            f"the first {plan.num_candidates} of {number} settings are tried, as more do not fit into "
            f"{request.fits or FITS:g} fits: --fits gives them more"
        )
    rungs = tuple(asdict(rung) for rung in plan.rungs)
    content = {"candidates": names, "num_candidates": plan.num_candidates, "rungs": rungs, "cost": plan.cost}
    write_atomically(path, json.dumps(content, indent=1).encode())
    return plan


def _new_plan(number: int, length: FitLength, request: Request, open_ended: bool) -> Plan:
    objectives = len(request.objectives)
    if request.fits is not None or not open_ended:
        return make_plan(number, length, request.fits or FITS, objectives)
    fits = FITS
    while True:  # the cheapest that gives every setting a turn
        plan = make_plan(number, length, fits, objectives)
        if plan.num_candidates == number:
            return plan
        fits += 0.25


__all__ = ["PLAN", "Request", "make_workers", "portfolio_for", "run_search", "write_scratch"]

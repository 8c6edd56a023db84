"""``croloss tune --interactions``: from a table alone to a model, within a time."""

from __future__ import annotations

import argparse
import math
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from lightning_croloss.baselines.per_user import Measured, measure_per_user
from lightning_croloss.cli.data.inspect import data_of
from lightning_croloss.cli.interruption import interruption_behind
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.seed_results import SeedRun
from lightning_croloss.cli.seeds import seeds_of
from lightning_croloss.cli.tune.base import Base
from lightning_croloss.cli.tune.folder import STATE, check_output
from lightning_croloss.cli.tune.mirrors import Mirrors, check_storage
from lightning_croloss.cli.tune.options import default_output
from lightning_croloss.cli.tune.report import format_seconds
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.cli.tune.search import make_workers
from lightning_croloss.cli.tune.table.clock import SpentTime
from lightning_croloss.cli.tune.table.features import feature_columns, without_tables
from lightning_croloss.cli.tune.table.options import refuse_options, table_base
from lightning_croloss.cli.tune.table.report import Report, hand_back
from lightning_croloss.cli.tune.table.runs import TableRuns
from lightning_croloss.cli.tune.table.seeds import Seeds
from lightning_croloss.cli.tune.workers import visible_gpus
from lightning_croloss.common.locks import claimed
from lightning_croloss.data import RetrievalDataModule, TableDataModule
from lightning_croloss.errors import DataError, MissingExtraError
from lightning_croloss.tuning.chosen_filters import Filters, choose_filters
from lightning_croloss.tuning.designs import Design, first_designs, variants
from lightning_croloss.tuning.from_data import Decisions, decide
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.records import read_record, write_record
from lightning_croloss.tuning.table_statistics import Statistics, look_at
from lightning_croloss.tuning.timed_search import TimedSearch

MINUTES = 60.0
#: What the baselines reach.
MEASURED = "baselines.json"
#: Shares of the time that are used, and that the baselines may take; seconds for the end besides the test.
USED, BASELINES, END = 0.99, 0.2, 1.5


def tune_table(given: argparse.Namespace, words: Sequence[str], command: Sequence[str]) -> Report:
    """Run the command.

    Args:
        given: its own options.
        words: the other words, which say how the table is read, or set fields of the trainer.
        command: the whole command line.

    Raises:
        ValueError: an option or the table is wrong.
    """
    refuse_options(given)
    check_storage(given.storage)
    base = table_base(given.interactions, words)
    folder = given.output or default_output(given.interactions, given.n)
    check_output(folder, base.config)
    weights = given.weights or [1.0] * len(given.n)
    line = shlex.join(["croloss", "tune", *command])
    seeds = () if given.seeds is None else seeds_of(given.seeds, base.seed)
    request = Request(
        objectives=(Objective(given.objective, dict(zip(given.n, weights, strict=True))),),
        folder=folder,
        minutes=given.minutes or MINUTES,
        processes=given.processes,
        seeds=tuple(seed for seed in seeds if seed != base.seed),
        storage=given.storage,
        overwrite=given.overwrite,
        command=line,
        began=given.began,
    )
    before = _innermost(folder)
    try:
        with claimed(folder):
            return _Table(base, request).run()
    except BaseException as error:
        if before != folder and not (folder / STATE).exists():
            _remove(folder, before)
        ended = interruption_behind(error)
        if ended is None:
            raise
        ended.advice = ended.advice or f"go on with: {line}"
        raise ended from None


def _innermost(folder: Path) -> Path:
    """Return the folder, or the innermost one above it, that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _remove(folder: Path, before: Path) -> None:
    """Remove what a search has made that never began: the folder, and those above that are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    for above in folder.parents:
        if above == before or not above.exists() or any(above.iterdir()):
            return
        above.rmdir()


class _Table:
    """One such search.

    Args:
        base: what the user has set, as a config.
        request: what is asked.
    """

    def __init__(self, base: Base, request: Request) -> None:
        assert request.minutes is not None
        assert request.began is not None
        self.base, self.request, self.folder = base, request, request.folder
        self.minutes = request.minutes
        (self.objective,) = request.objectives
        self.given: dict[str, Any] = dict(base.config["data"]["init_args"])
        self.runs = TableRuns(self.folder, base.config, self.objective, self.minutes, request.overwrite)
        self.end = request.began + USED * 60 * self.minutes - self.runs.elapsed
        self.began = request.began - self.runs.elapsed
        self.runs.began = self.began
        #: how often the winner is trained again, one after the other
        self.repeats = math.ceil(len(request.seeds) / request.processes)

    def run(self) -> Report:
        """Look at the table, decide, train, and hand back what was found."""
        ns = sorted(self.objective.weights)
        gpu = torch.cuda.is_available() and self.base.config["trainer"].get("accelerator") != "cpu"
        gpus = visible_gpus(torch.cuda.device_count()) if gpu and torch.cuda.device_count() > 1 else []
        logs = self.folder / "logs"
        with ExitStack() as until_the_end:
            until_the_end.enter_context(SpentTime(self.folder, self.began))
            workers = until_the_end.enter_context(make_workers(self.request.processes, logs, gpus))
            workers.start()  # they import what they need while the table is read
            filters, found, seconds = self._look()
            decisions = decide(found, filters, ns, self.minutes, self.given, gpu)
            data = self._read(seconds, dict(decisions.data))
            _tell(filters, found, decisions, data)
            request = self.request
            mirrors = Mirrors(self.folder, request.objectives, request.storage, request.command)
            self.runs.mirror_in(until_the_end.enter_context(mirrors))
            baselines = self._baselines(data, decisions, ns)
            self.runs.prepare(workers, found, decisions, self.base, self._cache(seconds), bool(gpus))
            over = self.runs.finished
            number = self._search(found, ns, data)
            report = Report(self.runs, number, baselines, found, decisions, self.request.command, over)
            hand_back(report, self.began, time.monotonic, self._with_seeds(number))
        return report

    def _with_seeds(self, number: int) -> Callable[[SeedRun, float], object]:
        """Return what trains a design with further seeds, after its test."""

        def train(own: SeedRun, test: float) -> None:
            if self.request.seeds:
                design = self.runs.tracks[number].design
                seeds = Seeds(self.runs, number, self.request.seeds, self.request.processes, self.end, test)
                seeds.run(own, f"{self.objective}: {design.name}")

        return train

    def _look(self) -> tuple[Filters, Statistics, float]:
        """Return the filters, what they leave of the table, and how long it took to read it."""
        before = time.monotonic()
        widest = {"min_user_interactions": 2} | without_tables(self.given)
        data = data_of(_described(widest))
        try:
            interactions = data.interactions
        except DataError:
            if "min_user_interactions" not in self.given:  # the filter is ours: what it is for says more
                look_at(data_of(_described(widest | {"min_user_interactions": 1})).interactions)
            raise
        seconds = time.monotonic() - before
        filters = choose_filters(look_at(interactions), self.given, self._no_more_filters(seconds))
        if widest | dict(filters.data) != widest:
            del data, interactions
            data = self._read(seconds, filters.data)
        assert isinstance(data, TableDataModule)
        features = feature_columns(data, self.given, say)
        return filters, filters.left(look_at(data.interactions, *features)), seconds

    def _read(self, seconds: float, chosen: Mapping[str, Any]) -> RetrievalDataModule:
        """Return the data with what was chosen; what takes long to prepare is kept for all that follows."""
        cache = self._cache(seconds)
        kept = {} if cache is None else {"cache_dir": str(cache)}
        return data_of(_described(without_tables(self.given) | dict(chosen) | kept))

    def _no_more_filters(self, seconds: float) -> str:
        """Return why no further users are filtered, "" if they may be: reading again must be worth it."""
        if seconds <= 0.04 * 60 * self.minutes:
            return ""
        return f"reading took {format_seconds(seconds)}, so that users are filtered no further"

    def _cache(self, seconds: float) -> Path | None:
        """Return where runs keep what was prepared, if preparing takes long."""
        return self.folder.absolute() / "cache" if seconds > 2.0 else None

    def _baselines(self, data: RetrievalDataModule, decisions: Decisions, ns: list[int]) -> list[Measured]:
        path = self.folder / MEASURED
        if path.exists():  # a search that is taken up again has no more time for them
            return read_record(
                path, lambda content: [Measured.from_plain(each) for each in content["baselines"]]
            )
        names = {name.removeprefix("val/"): share for name, share in self.objective.names.items()}
        exclude = bool(decisions.model.get("exclude_history", False))

        def metric(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return torch.stack([share * values[name].double() for name, share in names.items()]).sum(0)

        seconds = max(0.0, BASELINES * (self.end - time.monotonic()))
        try:
            measured = measure_per_user(data, metric, ns, exclude, seconds)
        except MissingExtraError as missing:
            say(f"no baselines: {missing}")
            return []
        write_record(path, {"baselines": [each.to_plain() for each in measured]})
        return measured

    def _search(self, found: Statistics, ns: list[int], data: RetrievalDataModule) -> int:
        first = first_designs(found, ns)
        valid = max(1, len(data.measured_rows("valid")))
        tests = max(1.0, len(data.measured_rows("test")) / valid)

        def around(best: Design) -> list[Design]:
            return variants(best, ns, found.items, first)

        search = TimedSearch(
            [(design, design.family) for design in first],
            lambda best: [(design, best.family) for design in around(best)],
            self.runs.advance,
            time.monotonic,
            self.end - END,
            self.runs.restored(first, around),
            self.runs.besides,
            self.request.processes,
            self.repeats,
        )
        self.runs.search = search
        # what the test will take is known from the first validation on
        self.runs.keep_for_the_end(self.end, END, (1 + self.repeats) * (0.5 + 0.5 * tests))
        number = search.best if self.runs.finished else search.run()
        if number is None:
            raise ValueError(f"nothing could be trained: {search.tracks[0].error}")
        self.runs.finish()
        return number


def _described(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": "TableDataModule", "init_args": arguments}


def _tell(filters: Filters, found: Statistics, decisions: Decisions, data: RetrievalDataModule) -> None:
    rows = data.rows
    for part, name in ((rows.train, "training"), (rows.valid, "validation"), (rows.test, "test")):
        if not len(part):
            raise ValueError(
                f"the split {type(data.split).__name__} leaves nothing for {name}: give another, as "
                "--split=LeaveOneOut"
            )
    table = filters.before
    say(
        f"{table.at_least[2]:,} users with several events, {table.items:,} items, {table.events:,} events; "
        f"half of the users have {table.typical:,.0f} events or fewer"
    )
    if (found.users, found.events) != (table.users, table.events):
        say(
            f"{found.users:,} users, {found.items:,} items and {found.events:,} events are left by the "
            "filters below"
        )
    for name, reason in decisions.reasons.items():
        say(f"  {name.rpartition('.')[2]}: {_shown(decisions, name)}: {reason}")


def _shown(decisions: Decisions, name: str) -> str:
    value = {**decisions.data, **decisions.model}[name.rpartition(".")[2]]
    return str(value["class_path"] if isinstance(value, Mapping) else value)


__all__ = ["tune_table"]

"""What a search hands back: the config and the checkpoint of each winner, their test, and how to use them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from lightning_croloss.callbacks.recall_report import collect_results, format_table
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.tune.base import Base
from lightning_croloss.cli.tune.budget import Budget
from lightning_croloss.cli.tune.report import (
    config_text,
    curves_of_rungs,
    format_rungs,
    format_seconds,
    next_commands,
    table_of_rungs,
)
from lightning_croloss.cli.tune.request import Request
from lightning_croloss.cli.tune.runs import Runs, best_checkpoint
from lightning_croloss.cli.tune.schedule import Schedule
from lightning_croloss.cli.tune.seed_runs import SeedRuns
from lightning_croloss.common.files import replacing, write_atomically
from lightning_croloss.common.plotting import plot_curves
from lightning_croloss.errors import MissingExtraError
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.search import Choice
from lightning_croloss.tuning.table import seconds_spent, steps_spent


def hand_back(
    choice: Choice,
    runs: Runs,
    request: Request,
    base: Base,
    schedule: Schedule,
    began: float,
    budget: Budget | None = None,
) -> None:
    """Test each winner, write its config and checkpoint, and print what was found.

    Args:
        choice: what the search has found.
        runs: its runs.
        request: what was asked.
        base: the config it began with.
        schedule: its plan.
        began: when the command began, by ``time.monotonic``.
        budget: the time that there is; None if that does not count.
    """
    folder = request.folder
    write_atomically(folder / "rungs.csv", table_of_rungs(choice).encode())
    fits, planned = steps_spent(choice, schedule.length), schedule.plan.cost
    trained = seconds_spent(choice)
    for at, objective in enumerate(choice.objectives):
        number = choice.winners[at]
        winner, outcome = choice.candidates[number], choice.latest(number)
        run = runs.records.candidate_folder(number)
        checkpoint = folder / f"best_{objective.label}.ckpt"
        if not checkpoint.exists():
            _copy(best_checkpoint(run, objective), checkpoint)
        tested = runs.tests([(run, objective, checkpoint)])[0] if base.tests else {}
        reached = f"{objective} of the validation: {outcome.value(objective):.4f}"
        if metrics := _of_test(objective, tested):
            reached = f"{objective} of the test: {metrics:.4f}; {reached}"
        lines = [
            reached,
            f"{winner.name}: the best of {len(choice.candidates)} settings, for {fits:.2f} fits:",
        ]
        config = folder / f"best_{objective.label}.yaml"
        if not config.exists():  # it may have been changed since
            text = config_text(runs.config_of(winner, objective), config, [*lines, f"  {request.command}"])
            write_atomically(config, text.encode())
        print(f"\n{format_rungs(choice, at)}")
        if tested:
            print(f"\n{format_table(collect_results(tested, 'test'), 'test')}")
        print(f"winner:     {winner.name}")
        print(f"config:     {config}")
        print(f"checkpoint: {checkpoint}")
        _draw(choice, at, folder)
    print(f"rungs:      {folder / 'rungs.csv'}")
    print(
        f"cost:       {fits:.2f} fits, planned at most {planned:.2f} (training steps and validations), "
        f"{format_seconds(trained)}"
    )
    if request.seeds:
        SeedRuns(choice, runs, request, base.seed, budget).run()
    first = folder / f"best_{choice.objectives[0].label}.ckpt"
    n = min(choice.objectives[0].weights)
    data = base.config.get("data")
    arguments = data.get("init_args") if isinstance(data, Mapping) else None
    for line in next_commands(first, n, (arguments or {}).get("interactions")):
        print(line)
    say(f"done in {format_seconds(time.monotonic() - began)}")


def _of_test(objective: Objective, tested: Mapping[str, float]) -> float:
    names = {name.replace("val/", "test/", 1): share for name, share in objective.names.items()}
    return sum(share * tested.get(name, 0.0) for name, share in names.items())


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _draw(choice: Choice, at: int, folder: Path) -> None:
    name = "rungs.png" if len(choice.objectives) == 1 else f"rungs_{choice.objectives[at].label}.png"
    path = folder / name
    if path.exists():
        return
    try:
        plot_curves(
            curves_of_rungs(choice, at), path, "training steps", f"{choice.objectives[at]}, validation"
        )
    except MissingExtraError as missing:
        say(f"no picture of the rungs: {missing}")


__all__ = ["hand_back"]

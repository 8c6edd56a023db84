"""What a search has found, as a table, a CSV file and a picture, and its config with what it reached."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from lightning_croloss.cli.tune.base import Config
from lightning_croloss.common.text_table import aligned
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.search import Choice

#: Letters of a candidate's name in a table for a terminal.
WIDTH = 72


def format_rungs(choice: Choice, at: int) -> str:
    """Lay out what each candidate reached at each rung, best first, by one of the objectives.

    Args:
        choice: what a search has found.
        at: the number of the objective.
    """
    objective = choice.objectives[at]
    steps = [max((outcome.step for outcome in rung.values()), default=0) for rung in choice.outcomes]
    rows = [[f"{objective} of the validation", *(f"step {step:,}" for step in steps), ""]]
    for number in ranking(choice, at):
        note = "winner" if number == choice.winners[at] else ""
        if (error := choice.latest(number).error) is not None:
            note = f"failed: {error[:60]}"
        cells = (_cell(choice, rung, number, objective) for rung in range(len(steps)))
        rows.append([f"{number:02d} {_cut(choice.candidates[number].name)}", *cells, note])
    head, *lines = aligned(rows, "<" + ">" * len(steps) + "<", gap=3).splitlines()
    return "\n".join([head, "-" * len(head), *lines])


def ranking(choice: Choice, at: int) -> list[int]:
    """Return the numbers of the candidates: the winner, then who came furthest, the best of them first."""

    def key(number: int) -> tuple[bool, int, float, int]:
        rungs = [number in rung for rung in choice.outcomes]
        value = choice.latest(number).value(choice.objectives[at])
        return number != choice.winners[at], -sum(rungs), -value, number

    return sorted(range(len(choice.candidates)), key=key)


def table_of_rungs(choice: Choice) -> str:
    """Return a CSV file with a row for each candidate at each rung."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [str(objective) for objective in choice.objectives]
    writer.writerow(["rung", "step", "candidate", "name", *names, "goes_on", "finished", "seconds", "error"])
    for rung, (outcomes, kept) in enumerate(zip(choice.outcomes, choice.kept, strict=True), start=1):
        for number, outcome in sorted(outcomes.items()):
            values = [outcome.value(objective) for objective in choice.objectives]
            shown = [f"{value:.6f}" if math.isfinite(value) else "" for value in values]
            goes_on = int(number in kept)
            row = [rung, outcome.step, number, choice.candidates[number].name, *shown, goes_on]
            writer.writerow([*row, int(outcome.finished), f"{outcome.seconds:.1f}", outcome.error or ""])
    return text.getvalue()


def curves_of_rungs(choice: Choice, at: int) -> dict[str, dict[int, float]]:
    """Return of each candidate what it reached at each rung, the winner first: for a picture."""
    curves: dict[str, dict[int, float]] = {}
    for number in ranking(choice, at):
        found = {
            rung[number].step: rung[number].value(choice.objectives[at])
            for rung in choice.outcomes
            if number in rung and rung[number].error is None
        }
        if found:
            curves[choice.candidates[number].name] = found
    return curves


def config_text(config: Config, path: Path, lines: Sequence[str]) -> str:
    """Return a config as text, below what is told of it and the command that runs it.

    Args:
        config: of a fit.
        path: where it will lie.
        lines: what is told.
    """
    head = [*lines, "", f"  {shlex.join(['croloss', 'fit', '--config', str(path)])}", ""]
    comment = "\n".join(f"# {line}".rstrip() for line in head)
    order = {name: config[name] for name in ("seed_everything", "data", "model", "trainer") if name in config}
    body = yaml.safe_dump(order | config, sort_keys=False, allow_unicode=True, width=110)
    return f"{comment}\n{body}"


def next_commands(checkpoint: Path, n: int, interactions: object = None) -> list[str]:
    """Return lines with the commands that use a model, as a shell takes them.

    Args:
        checkpoint: of the model.
        n: the N that is deployed.
        interactions: what it was trained on, which it recommends to: a file, folder or glob, or a list of
            these; anything else stands for any table.
    """
    named = [interactions] if isinstance(interactions, str) else interactions
    events = named if isinstance(named, (list, tuple)) and named else ["events.parquet"]
    model = ["--model", str(checkpoint)]
    recommend = ["croloss", "recommend", *model, "--histories", str(events[0]), "--n", str(n)]
    lines = [f"recommend:  {shlex.join(recommend)}"]
    if len(events) > 1:
        lines.append(f"            (of all {len(events)} tables at once, if they are in one folder)")
    return [*lines, f"export:     {shlex.join(['croloss', 'export', *model, '--output', 'served'])}"]


def format_seconds(seconds: float) -> str:
    """Return a time in the units that a reader thinks in."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _cut(name: str) -> str:
    return name if len(name) <= WIDTH else f"{name[: WIDTH - 1]}…"


def _cell(choice: Choice, rung: int, number: int, objective: Objective) -> str:
    outcome = choice.outcomes[rung].get(number)
    if outcome is None or outcome.error is not None:
        return ""
    return f"{outcome.value(objective):.4f}"


__all__ = [
    "config_text",
    "curves_of_rungs",
    "format_rungs",
    "format_seconds",
    "next_commands",
    "ranking",
    "table_of_rungs",
]

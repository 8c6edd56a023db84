"""What a search by the clock hands back: the model, its config with the reasons, and what it reaches."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch import Tensor

from lightning_croloss.baselines.per_user import Measured
from lightning_croloss.callbacks.recall_report import collect_results, format_table
from lightning_croloss.cli.messages import say
from lightning_croloss.cli.seed_results import SeedRun
from lightning_croloss.cli.tune.base import Config
from lightning_croloss.cli.tune.report import next_commands
from lightning_croloss.cli.tune.runs import refuse_to_go_on
from lightning_croloss.cli.tune.table.final_config import final_config
from lightning_croloss.cli.tune.table.runs import TableRuns
from lightning_croloss.common.files import replacing, write_atomically
from lightning_croloss.common.text_table import aligned
from lightning_croloss.tuning.designs import Design
from lightning_croloss.tuning.from_data import Decisions
from lightning_croloss.tuning.interval import bootstrap
from lightning_croloss.tuning.table_statistics import Statistics
from lightning_croloss.tuning.tracks import Track


@dataclass(frozen=True)
class Report:
    """What was found.

    Args:
        runs: the runs of the search.
        winner: the number of the best.
        baselines: what it is compared with.
        found: what the table is like.
        decisions: how it was trained on.
        command: the whole command line.
        taken_up_at_its_end: whether the search was over before this command.
    """

    runs: TableRuns
    winner: int
    baselines: Sequence[Measured]
    found: Statistics
    decisions: Decisions
    command: str
    taken_up_at_its_end: bool = False

    @property
    def tracks(self) -> list[Track[Design]]:
        """All that was tried."""
        return self.runs.tracks


def hand_back(
    report: Report, began: float, clock: Callable[[], float], seeds: Callable[[SeedRun, float], object]
) -> None:
    """Test the winner, write the checkpoint, the config and the table, and print what was found.

    Args:
        report: what was found.
        began: when the command began.
        clock: the time in seconds.
        seeds: called with the winner's run and the seconds of its test, to train it with further seeds.
    """
    runs, objective = report.runs, report.runs.objective
    track, progress = report.tracks[report.winner], runs.progress[report.winner]
    checkpoint = runs.folder / f"best_{objective.label}.ckpt"
    path = runs.folder / f"best_{objective.label}.yaml"
    with replacing(checkpoint) as temporary:
        shutil.copyfile(runs.best_checkpoint(report.winner), temporary)
    config, reasons = final_config(runs.config_of(track.design), progress, objective)
    write_atomically(runs.folder / "designs.csv", table_of_designs(report).encode())
    names = {name.removeprefix("val/"): share for name, share in objective.names.items()}
    before = clock()
    task = {"do": "test_users", "config": str(runs.run_config(report.winner)), "names": names}
    ((_, answer),) = runs.workers.run([task | {"checkpoint": str(checkpoint)}])
    if "error" in answer:
        refuse_to_go_on(answer)
        raise ValueError(f"the winner could not be tested: {answer['error']}")
    tested, took = answer["result"], clock() - before
    users = torch.tensor(tested["users"], dtype=torch.float64)
    compared = format_comparison(track.design.name, users, report.baselines, str(objective))
    fit = shlex.join(["croloss", "fit", "--config", str(path)])
    interactions = runs.base.config["data"]["init_args"]["interactions"]
    tables = interactions if isinstance(interactions, str) else ", ".join(interactions)
    head = [
        f"{track.design.name}: the best of {len(report.tracks)} models that were trained on",
        f"{tables} in {runs.minutes:g} minutes by",
        "",
        f"  {report.command}",
        "",
        *compared.splitlines(),
        "",
        f"  {fit}",
        "",
    ]
    text = "".join(f"# {line}".rstrip() + "\n" for line in head)
    text += commented(config, {**report.decisions.reasons, **reasons, **_of_design(track.design)})
    if not path.exists():  # it may have been changed since
        write_atomically(path, text.encode())
    write_atomically(runs.folder / "test.json", json.dumps(tested["metrics"], indent=1).encode())
    print(f"\n{format_designs(report)}")
    print(f"\n{format_table(collect_results(tested['metrics'], 'test'), 'test')}")
    print(f"\n{compared}\n")
    print(f"winner:     {track.design.name}")
    print(f"config:     {path}")
    print(f"checkpoint: {checkpoint}")
    own = runs.records.candidate_folder(report.winner)
    seeds(SeedRun(runs.base.seed, str(own), tested["metrics"]), took)
    for line in next_commands(checkpoint, min(objective.weights), interactions):
        print(line)
    print(f"train on:   {fit}")
    if report.taken_up_at_its_end:
        say("done; the search was over before, and this command has handed it back again")
    else:
        say(f"done in {clock() - began:.0f} s of {60 * runs.minutes:.0f} s")


def format_comparison(name: str, users: Tensor, baselines: Sequence[Measured], objective: str) -> str:
    """Lay out what the model and the baselines reach on the same users, with intervals.

    Args:
        name: the model's.
        users: (U,) what it reaches for each user of the test.
        baselines: what these reach, for the same users in the same order.
        objective: the name of what is measured.
    """
    rows = [[f"{objective} of {len(users):,} users of the test", "", "95 % interval", "the model's gain"]]
    rows.append([name, *_interval(users), ""])
    for baseline in baselines:
        if baseline.values is None:
            rows.append([baseline.name, "", "", f"left out: {baseline.why}"])
            continue
        setting = ", ".join(f"{key} {value}" for key, value in baseline.setting.items())
        values = baseline.values.double()
        gain = ""
        if len(values) == len(users):
            mean, low, high = bootstrap(users - values)
            gain = f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"
        label = f"{baseline.name} ({setting})" if setting else baseline.name
        rows.append([label, *_interval(values), gain])
    return aligned(rows, "<>><", gap=3)


def commented(config: Config, reasons: Mapping[str, str]) -> str:
    """Return a config as YAML, with a comment above each field that there is a reason for.

    Args:
        config: of a fit.
        reasons: by dotted name.
    """
    return "\n".join(_lines(config, reasons, "", 0)) + "\n"


def format_designs(report: Report) -> str:
    """Lay out what each design reached on validation, best first."""
    rows = [["trained", str(report.runs.objective), "epochs", "seconds", "for"]]
    order = sorted(range(len(report.tracks)), key=lambda number: -report.tracks[number].best)
    for number in order:
        track, progress = report.tracks[number], report.runs.progress[number]
        value = f"{track.best:.4f}" if track.values else ""
        why = track.design.why if track.error is None else f"failed: {track.error[:60]}"
        epochs = f"{progress.step / progress.epoch:.3g}"
        rows.append([track.design.name, value, epochs, f"{track.spent:.0f}", why])
    head, *lines = aligned(rows, "<>>><", gap=3).splitlines()
    return "\n".join([head, "-" * len(head), *lines])


def table_of_designs(report: Report) -> str:
    """Return a CSV file with a row for each validation of each design."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["design", "name", "validation", str(report.runs.objective), "winner", "seconds", "error"]
    )
    for number, track in enumerate(report.tracks):
        shared = [int(number == report.winner), f"{track.spent:.1f}", track.error or ""]
        for at, value in enumerate(track.values, start=1):
            writer.writerow([number, track.design.name, at, f"{value:.6f}", *shared])
        if not track.values:
            writer.writerow([number, track.design.name, "", "", *shared])
    return text.getvalue()


def _interval(values: Tensor) -> tuple[str, str]:
    mean, low, high = bootstrap(values)
    return f"{mean:.4f}", f"{low:.4f} to {high:.4f}"


def _of_design(design: Design) -> dict[str, str]:
    reasons = {"model.class_path": design.why} if design.why else {}
    if design.all_positions:
        reasons["data.init_args.batch_size"] = "histories, each with all of its targets"
    return reasons


def _lines(section: Mapping[str, Any], reasons: Mapping[str, str], above: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, value in section.items():
        full = f"{above}{name}"
        if full in reasons:
            yield f"{indent}# {' '.join(reasons[full].split())}"
        if isinstance(value, Mapping) and value and set(value) != {"class_path"}:
            yield f"{indent}{name}:"
            yield from _lines(value, reasons, f"{full}.", depth + 1)
        else:
            text = yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=1000)
            yield from (f"{indent}{line}" for line in text.rstrip("\n").splitlines())


__all__ = ["Report", "commented", "format_comparison", "format_designs", "hand_back", "table_of_designs"]

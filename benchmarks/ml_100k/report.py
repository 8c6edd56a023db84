"""The tables and the plot of the comparison, from its rows."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.rows import Row, failures_of, rows_of
from benchmarks.common.tables import (
    METRICS,
    Values,
    described,
    difference,
    failed_runs,
    mark_cutoffs,
    mean_of_seeds,
    table,
)
from benchmarks.ml_100k.protocol import NS, TARGETS, TRIALS, metric
from lightning_croloss.common.files import replacing, write_atomically

LOSSES = ("CROLoss", "SoftmaxLoss", "BPRLoss", "TripletLoss")


def columns() -> list[tuple[str, int]]:
    """Return the columns of the tables."""
    return [(name, n) for name in METRICS for n in NS]


def seeds(runs: list[list[int]], name: str, n: int) -> list[Values]:
    """Return the users' values of each seed."""
    return [metric(ranks, name, n) for ranks in runs]


def cells(runs: list[list[int]]) -> list[str]:
    """Mean over users, then mean ± deviation over seeds, in percent."""
    return [mean_of_seeds(seeds(runs, name, n), 1) for name, n in columns()]


def report(path: Path, folder: Path) -> None:
    """Write ``results.md`` and ``recall_at_n.png`` into ``folder`` from the rows at ``path``."""
    rows = list(rows_of(path).values())
    finals: dict[tuple[str, str], list[list[int]]] = defaultdict(list)
    by_target: dict[int, list[list[int]]] = defaultdict(list)
    for row in rows:
        settings = row["settings"]
        if settings["purpose"] == "final":
            finals[settings["architecture"], settings["loss"]].append(row["ranks"])
        elif settings["purpose"] == "target":
            by_target[settings["setting"]["n"]].append(row["ranks"])
    baselines = best_baselines(rows)
    head = [f"{name}@{n}" for name, n in columns()]
    parts = [
        "# Results\n\nWritten by `python -m benchmarks.ml_100k --report`; the protocol is in protocol.py, "
        "the reading in README.md. Test values in percent, mean ± deviation over three seeds; 943 users.",
        "## Architectures and losses",
        table(
            ["model", "loss", *head],
            [[name, described(row["settings"]["setting"]), *cells([row["ranks"]])] for name, row in baselines]
            + [[model, loss, *cells(runs)] for (model, loss), runs in ordered(finals)],
        ),
        "## CROLoss against each rival\n\nDifference in percentage points, users paired, their values "
        "averaged over seeds; 95 % interval of a bootstrap over users. **Bold**: the interval leaves out 0.",
        table(["model", "against", *head], comparisons(finals)),
        "## What n does\n\nYouTubeDNN with `TargetNImportance(n)`, sigmoid kernel, temperature 0.1, n "
        "annealed from 1,000; and the difference with its interval.",
        table(["n", *head], target_rows(by_target)),
        "## Tuning\n\nValidation NDCG@100 of each trial, in percent.",
        table(["loss", "setting", "epochs", "NDCG@100"], tuning_rows(rows)),
        *failed_runs(failures_of(path)),
    ]
    write_atomically(folder / "results.md", ("\n\n".join(parts) + "\n").encode())
    plot(finals, baselines, folder / "recall_at_n.png")
    print(f"wrote {folder / 'results.md'}")


def best_baselines(rows: list[Row]) -> list[tuple[str, Row]]:
    """Return each baseline with the setting that was best on validation."""
    best: dict[str, Row] = {}
    for row in rows:
        name = row["settings"]["architecture"]
        if row["settings"]["purpose"] == "baseline" and (
            name not in best or row["valid_ndcg@100"] > best[name]["valid_ndcg@100"]
        ):
            best[name] = row
    return sorted(best.items(), reverse=True)


def ordered(finals: dict[tuple[str, str], Any]) -> list[tuple[tuple[str, str], Any]]:
    """Sort by architecture as they came, then loss."""
    models = list(dict.fromkeys(model for model, _ in finals))
    return sorted(finals.items(), key=lambda entry: (models.index(entry[0][0]), LOSSES.index(entry[0][1])))


def differences(ours: list[list[int]], theirs: list[list[int]]) -> list[str]:
    """Write the difference and its interval for every column."""
    return [difference(seeds(ours, name, n), seeds(theirs, name, n), 1) for name, n in columns()]


def comparisons(finals: dict[tuple[str, str], list[list[int]]]) -> list[list[str]]:
    """Compare CROLoss with each rival on each architecture."""
    return [
        [model, loss, *differences(finals[model, "CROLoss"], runs)]
        for (model, loss), runs in ordered(finals)
        if loss != "CROLoss" and (model, "CROLoss") in finals
    ]


def target_rows(by_target: dict[int, list[list[int]]]) -> list[list[str]]:
    """Write one row a target, and their difference."""
    rows = [[str(n), *cells(by_target[n])] for n in TARGETS if by_target[n]]
    if len(rows) == len(TARGETS) == 2:
        small, large = TARGETS
        rows.append([f"{small} minus {large}", *differences(by_target[small], by_target[large])])
    return rows


def tuning_rows(rows: list[Row]) -> list[list[str]]:
    """Write every trial, best first within a loss."""
    found = [row for row in rows if row["settings"]["purpose"] == "tuning"]
    written = []
    for loss in TRIALS:
        mine = [row for row in found if row["settings"]["loss"] == loss]
        for row in sorted(mine, key=lambda row: -row["valid_ndcg@100"]):
            setting = json.loads(json.dumps(row["settings"]["setting"]))
            written.append(
                [loss, described(setting), str(row["epochs"]), f"{100 * row['valid_ndcg@100']:.2f}"]
            )
    return written


def plot(
    finals: dict[tuple[str, str], list[list[int]]], baselines: list[tuple[str, Row]], path: Path
) -> None:
    """Draw Recall against N, one panel an architecture."""
    models = list(dict.fromkeys(model for model, _ in finals))
    if not models:
        return
    figure = Figure(figsize=(4.2 * len(models), 3.8), layout="constrained")
    panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for panel, model in zip(panels, models, strict=True):
        for loss in LOSSES:
            runs = finals.get((model, loss))
            if runs:
                panel.plot(NS, [100 * np.mean(seeds(runs, "Recall", n)) for n in NS], "o-", label=loss)
        for name, row in baselines:
            values = [100 * metric(row["ranks"], "Recall", n).mean() for n in NS]
            panel.plot(NS, values, "--", color="grey" if name == "item kNN" else "silver", label=name)
        mark_cutoffs(panel, NS)
        panel.set_xlabel("N")
        panel.set_title(model)
    panels[0].set_ylabel("test Recall@N in percent")
    panels[0].legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)

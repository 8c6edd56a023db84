"""What runs with several seeds reach: a row for each, and mean ± deviation."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_croloss.callbacks.recall_report import collect_results
from lightning_croloss.common.files import write_atomically
from lightning_croloss.common.text_table import aligned


@dataclass(frozen=True)
class SeedRun:
    """What is kept of one run.

    Attributes:
        seed: its seed.
        folder: its folder.
        metrics: what its test measured, ``test/recall@20`` and so on.
    """

    seed: int
    folder: str
    metrics: Mapping[str, float]


def table_of_runs(runs: Sequence[SeedRun]) -> str:
    """Return a CSV file with a row for each run, and a column for each metric."""
    names = metric_names(runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seed", "run", *names])
    for run in runs:
        writer.writerow([run.seed, run.folder, *(run.metrics.get(name, "") for name in names)])
    return text.getvalue()


def summarize(runs: Sequence[SeedRun]) -> dict[str, Any]:
    """Return seeds, folders, and of each metric the mean, the deviation and the values.

    The deviation is that of the sample, with n - 1: it estimates how far single runs lie from each other, and
    is not the error of the mean.
    """
    metrics = {}
    for name in metric_names(runs):
        values = [run.metrics[name] for run in runs if name in run.metrics]
        metrics[name] = {"mean": statistics.fmean(values), "deviation": _deviation(values), "values": values}
    return {"seeds": [run.seed for run in runs], "runs": [run.folder for run in runs], "metrics": metrics}


def format_seeds(runs: Sequence[SeedRun]) -> str:
    """Lay out mean ± deviation with a row for each metric and a column for each N."""
    found = summarize(runs)["metrics"]
    means, deviations = (
        collect_results({name: entry[part] for name, entry in found.items()}, "test")
        for part in ("mean", "deviation")
    )
    ns = sorted({n for by_n in means.values() for n in by_n})
    seeds = ", ".join(str(run.seed) for run in runs)
    rows = [["test metrics", *(f"@{n}" for n in ns)]]
    for metric, by_n in means.items():
        cells = (f"{by_n[n]:.4f} ± {deviations[metric][n]:.4f}" if n in by_n else "" for n in ns)
        rows.append([metric, *cells])
    head, *lines = aligned(rows, "<" + ">" * len(ns), gap=3).splitlines()
    note = f"mean ± standard deviation of {len(runs)} runs, seeds {seeds}"
    return "\n".join([head, "-" * len(head), *lines, note])


def keep_and_print(runs: Sequence[SeedRun], folder: Path, label: str, title: str) -> None:
    """Write what several seeds reach beside each other, and print mean ± deviation.

    Args:
        runs: the runs.
        folder: where ``seeds_<label>.csv`` and ``seeds_<label>.json`` are written.
        label: what the files are named after.
        title: what stands above the table.
    """
    write_atomically(folder / f"seeds_{label}.csv", table_of_runs(runs).encode())
    write_atomically(folder / f"seeds_{label}.json", json.dumps(summarize(runs), indent=2).encode())
    print(f"\n{title}\n{format_seeds(runs)}")


def metric_names(runs: Sequence[SeedRun]) -> list[str]:
    """Return the metrics of any run, in their order."""
    return list(dict.fromkeys(name for run in runs for name in run.metrics))


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0

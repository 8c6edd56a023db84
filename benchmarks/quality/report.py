"""The tables and the plot of the comparison, from its rows."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.packed import unpacked
from benchmarks.common.rows import Row, Settings, failures_of, identity, rows_of
from benchmarks.common.tables import (
    Values,
    described,
    difference,
    failed_runs,
    mark_cutoffs,
    mean_of_seeds,
    table,
)
from benchmarks.quality.protocol import ARCHITECTURES, NS, TRIALS, chosen
from lightning_croloss.common.files import replacing, write_atomically

METRICS = ("recall", "ndcg")


class Results:
    """The final runs: for each architecture, side and N the values of each user with the setting for that N.

    Args:
        rows: all rows, by identity.
        num_targets: (users,) number of targets of each test user.
    """

    def __init__(self, rows: dict[str, Row], num_targets: Values) -> None:
        self.settings = chosen(rows)
        self._num_targets = num_targets
        self._runs: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in rows.values():
            given = row["settings"]
            if given["purpose"] == "final":
                self._runs[given["architecture"], given["side"], identity(given["setting"])].append(row)

    def seeds(self, architecture: str, side: str, n: int, metric: str) -> list[Values]:
        """Return the users' values (users,) of each seed."""
        setting: Settings = self.settings.get((side, n), {})
        found = self._runs[architecture, side, identity(setting)]
        found = sorted(found, key=lambda row: row["settings"]["seed"])
        if metric == "ndcg":
            return [unpacked(row["ndcg"][str(n)], "float16").astype(float) for row in found]
        return [unpacked(row["hits"][str(n)], "uint8") / self._num_targets for row in found]

    def architectures(self) -> list[str]:
        """Return the architectures of which both sides have a run for every N."""
        return [
            name
            for name in ARCHITECTURES
            if all(self.seeds(name, side, n, "recall") for side in TRIALS for n in NS)
        ]


def report(path: Path, folder: Path) -> None:
    """Write ``results.md`` and ``recall_at_n.png`` into ``folder`` from the rows at ``path``."""
    rows = rows_of(path)
    targets = np.asarray(json.loads((folder / "num_targets.json").read_text()), dtype=float)
    results = Results(rows, targets)
    parts = [
        "# Results\n\nWritten by `python -m benchmarks.quality --report`; the protocol is in protocol.py, "
        "the reading in docs/results.md. Test values in percent, "
        f"{len(targets):,} users; mean ± deviation over seeds.",
    ]
    for metric, title in zip(METRICS, ("Recall", "NDCG"), strict=True):
        head = ["model", "side", *(f"{title}@{n}" for n in NS)]
        parts += [f"## {title}, each side tuned for each N", table(head, value_rows(results, metric))]
    parts += [
        "## CROLoss minus softmax\n\nPercentage points of Recall, users paired, their values averaged over "
        "seeds; 95 % interval of a bootstrap over users. **Bold**: the interval leaves out 0.",
        table(["model", "seeds", *(f"@{n}" for n in NS)], difference_rows(results)),
        "## The settings chosen on validation",
        table(
            ["side", *(f"for N = {n}" for n in NS)],
            [[side, *(described(results.settings.get((side, n), {})) for n in NS)] for side in TRIALS],
        ),
        "## Tuning\n\nBest validation Recall@N of each trial, in percent; one seed, YouTubeDNN.",
        table(["side", "setting", *(f"@{n}" for n in NS)], tuning_rows(rows)),
        *failed_runs(failures_of(path)),
    ]
    write_atomically(folder / "results.md", ("\n\n".join(parts) + "\n").encode())
    plot(results, folder / "recall_at_n.png")
    print(f"wrote {folder / 'results.md'}")


def value_rows(results: Results, metric: str) -> list[list[str]]:
    """Write a row for each architecture and side."""
    written = []
    for architecture in results.architectures():
        for side in TRIALS:
            cells = [mean_of_seeds(results.seeds(architecture, side, n, metric), 2) for n in NS]
            written.append([architecture, side, *cells])
    return written


def difference_rows(results: Results) -> list[list[str]]:
    """Compare the sides on each architecture."""
    written = []
    for architecture in results.architectures():
        cells = [
            difference(
                *(results.seeds(architecture, side, n, "recall") for side in ("CROLoss", "softmax")), 2
            )
            for n in NS
        ]
        counts = {len(results.seeds(architecture, side, n, "recall")) for side in TRIALS for n in NS}
        written.append([architecture, " to ".join(str(count) for count in sorted(counts)), *cells])
    return written


def tuning_rows(rows: dict[str, Row]) -> list[list[str]]:
    """Write a row for each trial; the best of its side for an N is bold."""
    best = chosen(rows)
    written = []
    for row in rows.values():
        given: dict[str, Any] = row["settings"]
        if given["purpose"] != "tuning" or given["setting"] not in TRIALS[given["side"]]:
            continue
        cells = []
        for n in NS:
            text = f"{100 * max(row['valid'][str(n)]):.2f}"
            cells.append(f"**{text}**" if best[given["side"], n] == given["setting"] else text)
        written.append([given["side"], described(given["setting"]), *cells])
    return sorted(written)


def plot(results: Results, path: Path) -> None:
    """Draw test Recall@N of both sides, relative to softmax, one line an architecture."""
    architectures = results.architectures()
    if not architectures:
        return
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for architecture in architectures:
        ours, theirs = (
            np.array([np.mean(results.seeds(architecture, side, n, "recall")) for n in NS])
            for side in ("CROLoss", "softmax")
        )
        axes.plot(NS, 100 * (ours / theirs - 1), "o-", label=architecture)
    axes.axhline(0.0, color="grey", linewidth=1)
    mark_cutoffs(axes, NS)
    axes.set_xlabel("N, for which each side was tuned")
    axes.set_ylabel("test Recall@N of CROLoss over softmax, percent")
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)

"""The tables of the comparison, from its rows."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.common.packed import unpacked
from benchmarks.common.rows import Row, Settings, failures_of, identity, rows_of
from benchmarks.common.tables import Values, described, difference, failed_runs, mean_of_seeds, table
from benchmarks.losses.choosing import RUNGS, best, chosen, is_trial, survivors
from benchmarks.losses.datasets import DATA_SETS, NS, PARTS
from benchmarks.losses.sides import TRIALS
from benchmarks.losses.tuned import MissingTrialError, tuned
from lightning_croloss.common.files import write_atomically

HEAD = [f"@{n}" for n in NS]


class Results:
    """The runs of one data set and architecture.

    Args:
        rows: all rows of the data set, by identity.
        num_targets: (users,) number of targets of each test user; None: no run has been tested yet.
    """

    def __init__(
        self, rows: dict[str, Row], data: str, architecture: str, num_targets: Values | None
    ) -> None:
        self.rows, self.data, self.architecture = rows, data, architecture
        self._num_targets = num_targets
        self._finals: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows.values():
            given = row["settings"]
            if given["purpose"] == "final" and given["architecture"] == architecture:
                self._finals[given["side"], identity(given["setting"])].append(row)
        self.sides = [side for side in TRIALS if any(self._is_trial(row, side) for row in rows.values())]
        self.winners = {
            (side, n): chosen(rows.values(), data, side, n, architecture) or {}
            for side in self.sides
            for n in NS
        }

    def _is_trial(self, row: Row, side: str) -> bool:
        return is_trial(row, self.data, side, self.architecture)

    def trials(self, side: str) -> list[Row]:
        """Return the whole trials of a side, in the order of its grid."""
        found = [row for row in self.rows.values() if self._is_trial(row, side)]
        return sorted(found, key=lambda row: TRIALS[side].index(row["settings"]["setting"]))

    def seeds(self, side: str, n: int) -> list[Values]:
        """Return the test Recall@n of each user (users,), for each seed, of the setting chosen for n."""
        return self.seeds_of(side, self.winners[side, n], n)

    def seeds_of(self, side: str, setting: Settings, n: int) -> list[Values]:
        """Return the test Recall@n of each user (users,), for each seed, of a setting."""
        found = self._finals[side, identity(setting)]
        found = sorted(found, key=lambda row: row["settings"]["seed"])
        return [unpacked(row["hits"][str(n)], "uint16") / self._num_targets for row in found]

    def best_of_all(self, n: int) -> tuple[str, Settings]:
        """Return side and setting that are best on validation, of all sides."""
        side = max(self.sides, key=lambda side: self.reached(side, self.winners[side, n], n))
        return side, self.winners[side, n]

    def reached(self, side: str, setting: Settings, n: int) -> float:
        """Return the best validation Recall@n of a trial."""
        return max(best(row, n) for row in self.trials(side) if row["settings"]["setting"] == setting)

    def is_final(self) -> list[str]:
        """Return the sides whose winner of every N has been tested."""
        return [side for side in self.sides if all(self.seeds(side, n) for n in NS)]


def report(folder: Path) -> None:
    """Write ``results.md`` into each data set's folder."""
    for data in DATA_SETS:
        path = folder / data / "rows.jsonl"
        if not path.exists():
            continue
        rows = rows_of(path)
        architectures = dict.fromkeys(row["settings"]["architecture"] for row in rows.values())
        targets = targets_of(folder / data)
        parts = [
            f"# {data}\n\nWritten by `python -m benchmarks.losses --report`; the protocol is in datasets.py "
            "and runs.py, the trials of each side in sides.py."
        ]
        for architecture in architectures:
            parts += part_of(Results(rows, data, architecture, targets))
        parts += failed_runs(failures_of(path))
        write_atomically(folder / data / "results.md", ("\n\n".join(parts) + "\n").encode())
        print(f"wrote {folder / data / 'results.md'}")


def targets_of(folder: Path) -> Values | None:
    """Return (users,) the number of targets of each test user."""
    path = folder / "num_targets.json"
    return unpacked(json.loads(path.read_text()), "int64").astype(float) if path.exists() else None


def part_of(results: Results) -> list[str]:
    """Write the tables of an architecture."""
    parts = []
    tested = results.is_final()
    if tested:
        parts += [
            f"## {results.architecture}: test Recall@N in percent, each side tuned for each N",
            table(
                ["side", *HEAD],
                [[side, *(mean_of_seeds(results.seeds(side, n), 2) for n in NS)] for side in tested],
            ),
        ]
    if "softmax" in tested:
        others = [side for side in tested if side != "softmax"]
        parts += [
            f"## {results.architecture}: minus softmax\n\nPercentage points, users paired, averaged "
            "over seeds; 95 % interval of a bootstrap over users. **Bold**: the interval leaves out 0.",
            table(
                ["side", *HEAD],
                [
                    [side, *(difference(results.seeds(side, n), results.seeds("softmax", n), 2) for n in NS)]
                    for side in others
                ],
            ),
        ]
    parts += tune_part(results)
    parts += [
        f"## {results.architecture}: the settings chosen on validation",
        table(
            ["side", *(f"for N = {n}" for n in NS)],
            [[side, *(described(results.winners[side, n]) for n in NS)] for side in results.sides],
        ),
        *halving_part(results),
        f"## {results.architecture}: trials\n\nBest validation Recall@N, in percent; one seed.",
        table(["side", "setting", *HEAD], trial_rows(results)),
    ]
    return parts


def tune_part(results: Results) -> list[str]:
    """Write what ``tune`` chooses for each N, beside the best of all trials of all sides."""
    written = []
    for n in NS:
        try:
            side, setting, plan = tuned(results.rows.values(), n, architecture=results.architecture)
        except MissingTrialError:
            return []
        other = results.best_of_all(n)
        ratio = results.reached(side, setting, n) / results.reached(*other, n)
        ours, theirs = results.seeds_of(side, setting, n), results.seeds_of(*other, n)
        tested = len(ours) == len(theirs) > 0
        softmax = results.seeds("softmax", n) if "softmax" in results.sides else []
        written.append(
            [
                f"{n}",
                f"{side}: {described(setting)}",
                f"{plan.cost:.2f}",
                f"{other[0]}: {described(other[1])}",
                f"{100 * ratio:.1f} %",
                f"{100 * mean_recall(ours) / mean_recall(theirs):.1f} %" if tested else "–",
                difference(ours, theirs, 2) if tested else "–",
                difference(ours, softmax, 2) if len(ours) == len(softmax) > 0 else "–",
            ]
        )
    chosen_heads = ["N", "`tune` chooses", "fits", "best of all trials"]
    measured_heads = ["validation", "test", "test, points", "less softmax, points"]
    return [
        f"## {results.architecture}: `tune --n N` against the best of all trials of all sides\n\n"
        "Both chosen on validation; validation of one seed, test of the same three seeds. Softmax is at the "
        "temperature that is best on validation for the N.",
        table([*chosen_heads, *measured_heads], written),
    ]


def mean_recall(seeds: list[Values]) -> float:
    """Return the mean over users and seeds."""
    return float(np.mean([each.mean() for each in seeds]))


def halving_part(results: Results) -> list[str]:
    """Write what ``--halving`` would have chosen, of the sides whose whole grid has run."""
    whole = [side for side in results.sides if len(results.trials(side)) == len(TRIALS[side])]
    if not whole:
        return []
    parts, share = RUNGS[0]
    cost = parts / PARTS + share * (1 - parts / PARTS)
    return [
        f"## {results.architecture}: successive halving against the whole grid\n\nBest validation Recall@N "
        f"that `--halving` reaches, in percent of the grid's, at {100 * cost:.0f} % of its cost.",
        table(["side", *HEAD], [halving_row(results, side) for side in whole]),
    ]


def halving_row(results: Results, side: str) -> list[str]:
    """Write what halving loses against the grid, for each N."""
    trials = results.trials(side)
    left = [trials[index] for index in survivors(dict(enumerate(trials)), len(trials))]
    ratios = [max(best(row, n) for row in left) / max(best(row, n) for row in trials) for n in NS]
    return [side, *(f"{100 * ratio:.1f}" for ratio in ratios)]


def trial_rows(results: Results) -> list[list[str]]:
    """Write a row for each whole trial; the best of its side for an N is bold."""
    written = []
    for side in results.sides:
        for row in results.trials(side):
            setting = row["settings"]["setting"]
            cells = []
            for n in NS:
                text = f"{100 * best(row, n):.2f}"
                cells.append(f"**{text}**" if results.winners[side, n] == setting else text)
            written.append([side, described(setting), *cells])
    return written

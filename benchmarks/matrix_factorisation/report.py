"""The tables of the comparison, from its rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.common.packed import unpacked
from benchmarks.common.rows import Row, Settings, failures_of, identity, rows_of
from benchmarks.common.tables import Values, described, difference, failed_runs, mean_and_spread, table
from benchmarks.matrix_factorisation.choosing import SEEDS, chosen, run_of
from benchmarks.matrix_factorisation.protocol import PUBLISHED
from benchmarks.matrix_factorisation.sides import AUTHORS, TRIALS
from lightning_croloss.common.files import write_atomically

#: Key of a row -> what is left out of the lists of the test.
MASKS = {"published": "training", "left_out": "training and validation"}
METRICS = ("recall", "ndcg")
Rows = Mapping[str, Row]


def report(path: Path, folder: Path) -> None:
    """Write ``results.md`` into ``folder`` from the rows at ``path``."""
    rows = rows_of(path)
    parts = [
        "# Results\n\nWritten by `python -m benchmarks.matrix_factorisation --report`; the protocol is in "
        "protocol.py, the reading in README.md. Test Recall@20 and NDCG@20 in percent, mean ± deviation over "
        "seeds, which also decide which items are held out for validation."
    ]
    for data in PUBLISHED:
        if any(row["settings"]["data"] == data for row in rows.values()):
            parts += sections(rows, data)
    parts += failed_runs(failures_of(path))
    write_atomically(folder / "results.md", ("\n\n".join(parts) + "\n").encode())
    print(f"wrote {folder / 'results.md'}")


def sections(rows: Rows, data: str) -> list[str]:
    """Write what is known of a data set."""
    parts = [
        f"## {data}, beside the published table\n\n`training` left out of the lists is the published "
        "protocol; with `training and validation` the items held out for validation are not misses.",
        table(
            ["loss", "setting", "seeds", "left out", "Recall@20", "published", "NDCG@20", "published"],
            beside_published(rows, data),
        ),
    ]
    compared = comparisons(rows, data)
    if compared:
        parts += [
            f"## {data}, CROLoss against each rival\n\nPercentage points, as published, users paired, their "
            "values averaged over the seeds of both; 95 % interval of a bootstrap over users. **Bold**: it "
            "leaves out 0.",
            table(["against", "seeds", "Recall@20", "NDCG@20"], compared),
        ]
    parts += [
        f"## {data}, tuning\n\nBest validation NDCG@20 of each trial in percent, the epoch of it, and test "
        "as published, which chose nothing; seed 0.",
        table(["loss", "setting", "epoch", "validation", "Recall@20", "NDCG@20"], tuning(rows, data)),
    ]
    return parts


def settings_to_show(rows: Rows, data: str, side: str) -> list[tuple[str, Settings]]:
    """Return the setting of the published table and the chosen one, named, as far as they have run."""
    found: list[tuple[str, Settings]] = []
    theirs = AUTHORS.get(data, {}).get(side)
    if theirs is not None and identity(run_of(data, side, theirs)) in rows:
        found.append((f"{side}, the authors' setting", theirs))
    best = chosen(rows, data, side)
    if best is not None and best != theirs:
        found.append((f"{side}, chosen on validation", best))
    return found


def of_seeds(rows: Rows, data: str, side: str, setting: Settings) -> list[Row]:
    """Return the rows of a setting, seed after seed."""
    names = [identity(run_of(data, side, setting, seed)) for seed in SEEDS]
    return [rows[name] for name in names if name in rows]


def beside_published(rows: Rows, data: str) -> list[list[str]]:
    """Write a row for each side, setting and mask."""
    written = []
    for side in TRIALS:
        for name, setting in settings_to_show(rows, data, side):
            runs = of_seeds(rows, data, side, setting)
            for mask, label in MASKS.items():
                line = [name, described(setting), str(len(runs)), label]
                for metric in METRICS:
                    values = [row[mask][metric] for row in runs]
                    line += [mean_and_spread(values), deviation(data, side, metric, float(np.mean(values)))]
                written.append(line)
    return written


def deviation(data: str, side: str, metric: str, value: float) -> str:
    """Write the published figure, and by how much ours is above or below it."""
    theirs = PUBLISHED[data].get(side)
    if theirs is None:
        return "–"
    figure: float = getattr(theirs, metric)
    return f"{100 * figure:.2f} ({100 * (value / figure - 1):+.1f} %)"


def users_of(row: Row, metric: str) -> Values:
    """Return the value of each user, (users,)."""
    return unpacked(row["users"][metric], "float16").astype(float)


def comparisons(rows: Rows, data: str) -> list[list[str]]:
    """Compare the chosen setting of CROLoss with that of each rival, on the seeds that both have."""
    ours = chosen(rows, data, "CROLoss")
    written = []
    for side in TRIALS:
        theirs = chosen(rows, data, side)
        if side == "CROLoss" or ours is None or theirs is None:
            continue
        pairs = [(rows.get(identity(run_of(data, "CROLoss", ours, seed))), seed) for seed in SEEDS]
        both = [
            (row, rows[identity(run_of(data, side, theirs, seed))])
            for row, seed in pairs
            if row is not None and identity(run_of(data, side, theirs, seed)) in rows
        ]
        cells = [
            difference(*([users_of(pair[index], metric) for pair in both] for index in (0, 1)), 2)
            for metric in METRICS
        ]
        written.append([side, str(len(both)), *cells])
    return written


def tuning(rows: Rows, data: str) -> list[list[str]]:
    """Write every trial, best first within a side."""
    written = []
    for side in TRIALS:
        found = [rows.get(identity(run_of(data, side, setting))) for setting in TRIALS[side]]
        for row in sorted((row for row in found if row), key=lambda row: -max(row["valid"])):
            test = row["published"]
            written.append(
                [
                    side,
                    described(row["settings"]["setting"]),
                    str(row["epoch"]),
                    *(f"{100 * value:.2f}" for value in (max(row["valid"]), test["recall"], test["ndcg"])),
                ]
            )
    return written

"""The tables of a data set: published figures, ours beside them, and what each side's search chose."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.packed import unpacked
from benchmarks.common.rows import Row, failures_of, rows_of
from benchmarks.common.tables import (
    Values,
    described,
    difference,
    failed_runs,
    mean_of_seeds,
    table,
    user_values,
)
from benchmarks.published import others
from benchmarks.published.runs import NS
from benchmarks.published.sides import N
from lightning_croloss.common.files import write_atomically
from lightning_croloss.zoo.published import PUBLISHED, Figure

HEAD = [*(f"Recall@{n}" for n in NS), f"NDCG@{N}"]


def report(folder: Path) -> None:
    """Write ``results.md`` into each data set's folder."""
    for data, published in PUBLISHED.items():
        path = folder / data / "rows.jsonl"
        if not path.exists():
            continue
        parts = [
            f"# {data}\n\nWritten by `python -m benchmarks.published --report`; the protocol is in runs.py, "
            "the plan in plan.py. In percent.",
            *parts_of(list(rows_of(path).values()), published.figures),
            *failed_runs(failures_of(path)),
        ]
        write_atomically(path.with_name("results.md"), ("\n\n".join(parts) + "\n").encode())
        print(f"wrote {path.with_name('results.md')}")


def parts_of(rows: list[Row], figures: tuple[Figure, ...]) -> list[str]:
    """Return the tables."""
    tested = defaultdict[tuple[str, str], list[Row]](list)
    for row in rows:
        if row["settings"]["purpose"] == "final":
            tested[row["settings"]["architecture"], row["settings"]["side"]].append(row)
    blank = [""] * (len(NS) - 1)
    lines = [
        [each.model, each.source, _percent(each.recall), *blank, _percent(each.ndcg)] for each in figures
    ]
    ours = {sides: columns(runs) for sides, runs in sorted(tested.items())}
    for (architecture, side), found in ours.items():
        means = [mean_of_seeds(values, 2) for values in found]
        seeds = f"ours, {len(found[0])} seed{'s' * (len(found[0]) > 1)}"
        lines.append([f"{architecture}, {side}", seeds, *means])
    lines += others.lines_of(
        {row["settings"]["model"]: columns([row]) for row in rows if row["settings"]["purpose"] == "other"}
    )
    parts = [f"## Test, whole catalogue, seen items left out\n\n{table(['model', 'source', *HEAD], lines)}"]
    pairs = []
    for architecture in dict.fromkeys(architecture for architecture, _ in ours):
        if {(architecture, "CROLoss"), (architecture, "softmax")} <= ours.keys():
            both = zip(ours[architecture, "CROLoss"], ours[architecture, "softmax"], strict=True)
            pairs.append([architecture, *(difference(mine, theirs, 2) for mine, theirs in both)])
    if pairs:
        parts.append(
            "## CROLoss less softmax, each tuned by `tune` among seven settings\n\n"
            "In points, with the 95 % interval of a paired bootstrap over users.\n\n"
            + table(["model", *HEAD], pairs)
        )
    return [*parts, *_chosen(rows), *_recipes(rows)]


def columns(runs: list[Row]) -> list[list[Values]]:
    """Return for each column of the table the values (users,) of each seed."""
    ranks = [
        torch.from_numpy(unpacked(row["ranks"], "uint16").astype(np.int64)).unsqueeze(1)
        for row in sorted(runs, key=lambda row: row["settings"]["seed"])
    ]
    recalls = [[user_values(each, "Recall", n) for each in ranks] for n in NS]
    return [*recalls, [user_values(each, "NDCG", N) for each in ranks]]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _chosen(rows: list[Row]) -> list[str]:
    found = [row for row in rows if row["settings"]["purpose"] == "tune"]
    lines = [
        [
            f"{row['settings']['architecture']}, {row['settings']['side']}",
            described(row["settings"]["recipe"]),
            f"{row['loss']['class_path']}: {described(row['loss']['init_args'])}",
            f"{100 * row['valid']:.2f}",
            f"{row['fits']:.2f}",
        ]
        for row in found
    ]
    head = ["model, side", "recipe", "`tune` chose", f"validation Recall@{N}", "fits"]
    return [f"## What was chosen\n\n{table(head, lines)}"] if found else []


def _recipes(rows: list[Row]) -> list[str]:
    found = [row for row in rows if row["settings"]["purpose"] == "recipe"]
    lines = [
        [
            f"{row['settings']['architecture']}, {row['settings']['side']}",
            described(row["settings"]["recipe"]),
            f"{100 * max(row['valid']):.2f}",
            str(int(np.argmax(row["valid"])) + 1),
            f"{row['seconds_per_epoch']:.1f}",
        ]
        for row in found
    ]
    head = [
        "model, side",
        "departure from the recipe",
        f"best validation Recall@{N}",
        "epoch",
        "seconds an epoch",
    ]
    return [f"## Recipes\n\nOne seed.\n\n{table(head, lines)}"] if found else []

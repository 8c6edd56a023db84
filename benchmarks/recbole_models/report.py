"""The table of the comparison."""

from __future__ import annotations

from benchmarks.common.rows import Row
from benchmarks.common.tables import table
from benchmarks.recbole_models import general, sequential
from benchmarks.recbole_models.protocol import MODELS
from benchmarks.recbole_models.recbole_side import N

METRICS = {"test": f"Recall@{N}", "ndcg": f"NDCG@{N}"}
HEAD = [
    "model",
    *(f"{metric}, {what}" for metric in METRICS.values() for what in ("RecBole", "here", "ratio")),
    *(f"{what}, {side}" for what in ("s an epoch", "s to the best") for side in ("RecBole", "here")),
]


def report(rows: dict[str, Row]) -> str:
    """Return the table as Markdown; a model of which a side has no row is left out."""
    found = {(row["settings"]["model"], row["settings"]["side"]): row for row in rows.values()}
    lines = []
    for model in MODELS:
        theirs, ours = (found.get((model, side)) for side in ("RecBole", "here"))
        if theirs is not None and ours is not None:
            figures = [cell for metric in METRICS for cell in cells(metric, theirs, ours)]
            lines.append([model, *figures, *times(MODELS[model].EPOCHS, theirs, ours)])
    return f"""\
# Our models beside RecBole's own

MovieLens-100k, one seed, one thread: `python -m benchmarks.recbole_models`. Models of users' ids in
RecBole's default protocol, BPR, Adam {general.RATE}, {general.EPOCHS} epochs; those of histories
8:1:1 in the order of time, cross-entropy over the whole catalogue, Adam {sequential.RATE},
{sequential.EPOCHS} epochs. Test figures of the epoch that is best by validation; seconds of the
processor, with validation.

{table(HEAD, lines)}
"""


def cells(metric: str, theirs: Row, ours: Row) -> list[str]:
    """Return both sides' figures and their ratio; nothing of what a row lacks."""
    if metric not in theirs or metric not in ours:
        return [""] * 3
    return [f"{theirs[metric]:.4f}", f"{ours[metric]:.4f}", f"{ours[metric] / theirs[metric]:.2f}"]


def times(epochs: int, theirs: Row, ours: Row) -> list[str]:
    """Return both sides' seconds of an epoch, then to the best; nothing of rows without."""
    sides = (theirs, ours)
    if any("fit_seconds" not in row for row in sides):
        return [""] * 4
    an_epoch = [row["fit_seconds"] / epochs for row in sides]
    to_best = [seconds * row["epoch"] for seconds, row in zip(an_epoch, sides, strict=True)]
    return [f"{seconds:.1f}" for seconds in (*an_epoch, *to_best)]

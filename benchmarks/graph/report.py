"""The table of the comparison."""

from __future__ import annotations

from benchmarks.common.rows import Row
from benchmarks.graph.protocol import EPOCHS, MODELS, RATE, N


def report(rows: dict[str, Row]) -> str:
    """Return the table as Markdown; a model of which a side has no row is left out."""
    found = {(row["settings"]["model"], row["settings"]["side"]): row for row in rows.values()}
    lines = [
        "# LightGCN and NGCF beside RecBole's own",
        "",
        f"MovieLens-100k in RecBole's default protocol, BPR, Adam {RATE}, {EPOCHS} epochs, one seed, one",
        "thread: `python -m benchmarks.graph`.",
        "",
        f"| model | RecBole, test Recall@{N} | here | ratio |",
        "|---|---|---|---|",
    ]
    for model in MODELS:
        theirs, ours = found.get((model, "RecBole")), found.get((model, "here"))
        if theirs is None or ours is None:
            continue
        ratio = ours["test"] / theirs["test"]
        lines.append(f"| {model} | {theirs['test']:.4f} | {ours['test']:.4f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"

"""The table and the plot of what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.common.tables import table
from benchmarks.serve.protocol import DIM, LENGTH, TOP
from lightning_croloss.common.files import replacing


def written(rows: list[dict[str, Any]], items: int, requests: int, facts: dict[str, Any]) -> str:
    """Write the table."""
    head = ["model", "search", "p50", "p95", "times faster than numpy", "Recall@100 of exact", "size"]
    body = [
        [
            row["model"],
            row["way"],
            f"{row['p50_ms']:.2f} ms",
            f"{row['p95_ms']:.2f} ms",
            f"{row['speedup']:.1f}",
            f"{row['recall']:.3f}",
            f"{row['export_mib']:.0f} MiB",
        ]
        for row in rows
    ]
    encoders = {row["model"]: row["encoder_p50_ms"] for row in rows}
    encoding = ", ".join(f"{name} {value:.2f} ms" for name, value in encoders.items())
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    return (
        f"# One request at {items:,} items, one thread\n\nWritten by `python -m benchmarks.serve`. "
        f"D = {DIM}, histories of {LENGTH}, top {TOP}, {requests} requests.\n\n{table(head, body)}\n\n"
        f"Of this the encoder takes (p50): {encoding}.\n\n{described}.\n"
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw Recall against the median latency, one line a kind of index."""
    names = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure(figsize=(4.2 * len(names), 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        of_model = [row for row in rows if row["model"] == name]
        for kind in ("exact, numpy", "exact, faiss Flat", "IVF", "HNSW"):
            points = [row for row in of_model if row["way"].startswith(kind)]
            axes.plot([p["p50_ms"] for p in points], [p["recall"] for p in points], "o-", label=kind)
        axes.set_xscale("log")
        axes.set_xlabel("median latency of a request, ms")
        axes.set_ylabel("Recall@100 of the exact answer")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)

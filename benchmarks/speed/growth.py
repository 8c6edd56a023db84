"""How a training step grows with the catalogue and with the batch.

A whole step of YouTubeDNN, D = 64, histories of 20: forward, backward, optimizer. With 2,560 sampled
negatives the gradients of the embeddings are sparse from 50,000 items on (``LazyAdam``), as a fit chooses
by itself, and the step shall cost at most 1.5 times as much at 1,000,000 items as at 100,000; with the
whole catalogue as negatives (fused loss, dense Adam) time and memory shall grow no faster than the
catalogue.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.common.measuring import CLOCKS, duration, peak_memory, size
from benchmarks.common.tables import table
from benchmarks.speed.settings import Settings
from lightning_croloss import FullCatalogNegatives, UniformNegatives, YouTubeDNN
from lightning_croloss.common.files import replacing
from lightning_croloss.data import RetrievalBatch
from lightning_croloss.training.fused_steps import fuse_steps
from lightning_croloss.training.sparse_gradients import AUTOMATIC_ROWS, lazy_optimizer

PEERS = ()
Row = dict[str, Any]
DIM, LENGTH, NEGATIVES = 64, 20, 2560
#: Sizes (items, batch) of each kind.
SIZES: dict[str, list[tuple[int, int]]] = {
    "sampled": [(10_000, 256), (100_000, 256), (300_000, 256), (1_000_000, 256)],
    "sampled, batches": [(100_000, 256), (100_000, 1024), (100_000, 4096)],
    "whole catalogue": [(10_000, 256), (100_000, 256), (300_000, 256), (1_000_000, 256)],
    "whole catalogue, batches": [(50_000, 256), (50_000, 1024), (50_000, 4096)],
}
QUICK = {kind: [(1_000, 16), (2_000, 16)] for kind in SIZES}


def steps(
    kind: str, items: int, batch_size: int, count: int = 1, similarity: str = "cosine"
) -> Callable[[], None]:
    """Return a function that takes ``count`` steps; the first two, which allocate, are behind it."""
    torch.manual_seed(0)
    whole = kind.startswith("whole")
    model = YouTubeDNN(
        num_items=items,
        embedding_dim=DIM,
        hidden_dims=(),
        negatives=FullCatalogNegatives() if whole else UniformNegatives(NEGATIVES),
        ns=(20,),
        similarity=similarity,
    )
    lazy = not whole and items >= AUTOMATIC_ROWS
    for embedding in model.id_embeddings():
        embedding.sparse = lazy
    build = lazy_optimizer(None) if lazy else torch.optim.Adam
    assert build is not None
    optimizer = build(model.parameters())
    fuse_steps([optimizer], model.modules())  # as a fit does

    def take() -> None:
        for _ in range(count):
            batch = RetrievalBatch(
                torch.randint(1, items + 1, (batch_size, LENGTH)),
                torch.randint(1, items + 1, (batch_size, 1)),
                torch.ones(batch_size, dtype=torch.long),
            )
            loss = model.loss_of(batch)
            model.optimizer_zero_grad(0, 0, optimizer)
            loss.backward()
            optimizer.step()

    take()
    take()
    return take


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    rows: list[Row] = []
    now = CLOCKS[settings.clock]
    for threads in settings.threads:
        torch.set_num_threads(threads)
        for kind, sizes in (QUICK if settings.quick else SIZES).items():
            for items, batch_size in sizes:
                take = steps(kind, items, batch_size)
                # few rounds where a step takes seconds
                rounds = settings.repeats if items * batch_size < 2**27 or kind[0] == "s" else 2
                seconds = []
                for _ in range(rounds):
                    start = now()
                    take()
                    seconds.append(now() - start)
                del take
                rows.append(
                    {
                        "kind": kind,
                        "items": items,
                        "batch": batch_size,
                        "threads": threads,
                        "s": statistics.median(seconds),
                        "MiB": peak_memory(steps, kind, items, batch_size) if threads == 1 else None,
                    }
                )
    torch.set_num_threads(1)
    plot(rows, folder / "growth.png")
    return rows, written(rows)


def written(rows: list[Row]) -> str:
    """Write the table, and how much the ends of each kind differ."""
    lines = []
    for row in rows:
        memory = "" if row["MiB"] is None else size(row["MiB"])
        cells = (f"{row['items']:,}", f"{row['batch']:,}", str(row["threads"]), duration(row["s"]), memory)
        lines.append([row["kind"], *cells])
    head = ["negatives", "items", "batch", "threads", "step", "memory of a step beyond its model"]
    found = {(row["kind"], row["items"], row["threads"]): row["s"] for row in rows}
    notes = []
    for threads in sorted({row["threads"] for row in rows}):
        if ("sampled", 1_000_000, threads) in found:
            sampled, whole = (
                found[kind, 1_000_000, threads] / found[kind, 100_000, threads]
                for kind in ("sampled", "whole catalogue")
            )
            notes.append(
                f"{threads} thread(s), 1,000,000 items against 100,000: sampled {sampled:.2f} times (goal: "
                f"at most 1.5), whole catalogue {whole:.1f} times (goal: at most 10)."
            )
    return "\n\n".join(["# Growth of a training step", table(head, lines), *notes])


def plot(rows: list[Row], path: Path) -> None:
    """Draw the time of a step against items and against the batch."""
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    first, second = figure.subplots(1, 2)
    for kind in SIZES:
        of_kind = [row for row in rows if row["kind"] == kind and row["threads"] == rows[0]["threads"]]
        axes, field = (second, "batch") if "batches" in kind else (first, "items")
        axes.plot([row[field] for row in of_kind], [1000 * row["s"] for row in of_kind], "o-", label=kind)
    for axes, label in ((first, "items, at a batch of 256"), (second, "batch")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("step, ms")
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)

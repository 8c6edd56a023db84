"""The fused loss against the naive one and against three bare matrix products: time, memory, growth.

Forward and backward from embeddings: users (B, D), positives (B, D), candidates (M, D), D = 64. The three
products of these sizes (scores, gradients of users and of candidates) are what no such training avoids.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.common.measuring import alternate, duration, peak_memory, ratio, size
from benchmarks.common.tables import table
from benchmarks.speed.settings import Settings
from lightning_croloss import CROLoss, SoftmaxLoss
from lightning_croloss.common.files import replacing

Row = dict[str, Any]
D = 64
LOSSES = {"CROLoss": CROLoss, "SoftmaxLoss": SoftmaxLoss}
SIZES = ((512, 5_120), (512, 50_000), (512, 368_000))
MEMORY_SIZES = ((1024, 200_000),)
GROWTH = {"M": [(256, m) for m in (10_000, 30_000, 100_000, 300_000, 1_000_000)]}
GROWTH["B"] = [(b, 20_000) for b in (256, 512, 1024, 2048, 4096)]
#: Scores beyond which the naive path, which holds several such matrices, is not tried.
MOST_NAIVE_SCORES = 2**28


def embeddings(rows: int, columns: int) -> list[torch.Tensor]:
    """Return unit vectors of users, positives and candidates, with gradient."""
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(n, D, generator=generator) for n in (rows, rows, columns)]
    return [functional.normalize(entry, dim=1).requires_grad_() for entry in vectors]


def step(name: str, fused: bool, inputs: list[torch.Tensor], ids: bool = False) -> Callable[[], object]:
    """Return a forward and backward pass; with ids, a target among the candidates is ignored."""
    loss = LOSSES[name](fused=fused)
    options = {}
    if ids:  # as RetrievalModel calls it with the whole catalogue
        rows, columns = inputs[0].shape[0], inputs[2].shape[0]
        targets = torch.randint(1, columns + 1, (rows,), generator=torch.Generator().manual_seed(0))
        options = {"candidate_ids": torch.arange(1, columns + 1), "target_ids": targets}

    def run() -> None:
        for entry in inputs:
            entry.grad = None
        loss.from_embeddings(*inputs, **options).backward()

    return run


def products(inputs: list[torch.Tensor]) -> Callable[[], object]:
    """Return the three products alone."""
    users, _, candidates = (entry.detach() for entry in inputs)

    def run() -> object:
        scores = users @ candidates.T
        return scores @ candidates, scores.T @ users

    return run


def step_alone(name: str, fused: bool, rows: int, columns: int) -> Callable[[], object]:
    """Make the inputs and return the pass, once libraries have been loaded by a small one."""
    step(name, fused, embeddings(64, 64))()
    return step(name, fused, embeddings(rows, columns))


def times(settings: Settings) -> list[Row]:
    """Time each loss at each size with each number of threads."""
    rows = []
    for threads in settings.threads:
        torch.set_num_threads(threads)
        for batch, columns in SIZES[:1] if settings.quick else SIZES:
            inputs = embeddings(batch, columns)
            for name, ids in itertools.product(LOSSES, (False, True)):
                sides = {"products": products(inputs), "fused": step(name, True, inputs, ids)}
                if batch * columns <= MOST_NAIVE_SCORES:
                    sides["naive"] = step(name, False, inputs, ids)
                seconds = alternate(sides, settings.repeats, settings.clock)
                row: Row = {"loss": name, "B": batch, "M": columns, "threads": threads, "ids": ids}
                row |= {f"{side} s": statistics.median(found) for side, found in seconds.items()}
                row["fused / products"] = ratio(seconds, "fused", "products")
                if "naive" in sides:
                    row["naive / fused"] = ratio(seconds, "naive", "fused")
                rows.append(row)
    torch.set_num_threads(1)
    return rows


def memory(settings: Settings) -> list[Row]:
    """Measure the peak memory of each loss, beyond its inputs."""
    rows = []
    for batch, columns in ((1024, 20_000),) if settings.quick else MEMORY_SIZES:
        for name in LOSSES:
            found = {
                f"{side} MiB": peak_memory(step_alone, name, side == "fused", batch, columns)
                for side in ("fused", "naive")
            }
            rows.append(
                {
                    "loss": name,
                    "B": batch,
                    "M": columns,
                    **found,
                    "naive / fused": found["naive MiB"] / found["fused MiB"],
                }
            )
    return rows


def growth(settings: Settings) -> list[Row]:
    """Measure how time and memory of the fused CROLoss grow with M and B."""
    rows = []
    for axis, sizes in GROWTH.items():
        for batch, columns in sizes[:2] if settings.quick else sizes:
            inputs = embeddings(batch, columns)
            seconds = alternate(
                {"fused": step("CROLoss", True, inputs)}, min(3, settings.repeats), settings.clock
            )["fused"]
            del inputs
            grown = peak_memory(step_alone, "CROLoss", True, batch, columns)
            rows.append(
                {"axis": axis, "B": batch, "M": columns, "fused s": statistics.median(seconds), "MiB": grown}
            )
    return rows


def plot(rows: list[Row], path: Path) -> None:
    """Draw time and memory against M and B on logarithmic axes, where a line of slope 1 is linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    for place, axis in enumerate(GROWTH):
        found = [row for row in rows if row["axis"] == axis]
        axes = figure.add_subplot(1, 2, place + 1)
        xs = [row[axis] for row in found]
        other = next(iter({row["M" if axis == "B" else "B"] for row in found}))
        axes.loglog(xs, [row["fused s"] for row in found], marker="o", label="seconds")
        linear = [found[0]["fused s"] * x / xs[0] for x in xs]
        axes.loglog(xs, linear, linestyle=":", color="grey", label="linear")
        axes.loglog(xs, [row["MiB"] / 1024 for row in found], marker="s", label="GiB beyond the inputs")
        axes.set_xlabel(f"{axis}  ({'B' if axis == 'M' else 'M'} = {other:,})")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle("Fused CROLoss, forward + backward, one thread")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def run(settings: Settings, folder: Path) -> tuple[dict[str, list[Row]], str]:
    """Measure, write the plot, and return the figures and their tables."""
    found = {"time": times(settings), "memory": memory(settings), "growth": growth(settings)}
    try:
        plot(found["growth"], folder / "loss_growth.png")
    except ImportError:
        print("no plot: matplotlib is missing, install the extra [plot]")
    time_table = table(
        [
            "loss",
            "B",
            "M",
            "ids",
            "threads",
            "fused",
            "naive",
            "three products",
            "naive / fused",
            "fused / products",
        ],
        [
            [
                row["loss"],
                f"{row['B']:,}",
                f"{row['M']:,}",
                "yes" if row["ids"] else "no",
                str(row["threads"]),
                duration(row["fused s"]),
                duration(row["naive s"]) if "naive s" in row else "–",
                duration(row["products s"]),
                f"{row['naive / fused']:.2f}" if "naive / fused" in row else "–",
                f"{row['fused / products']:.2f}",
            ]
            for row in found["time"]
        ],
    )
    memory_table = table(
        ["loss", "B", "M", "fused", "naive", "naive / fused"],
        [
            [
                row["loss"],
                f"{row['B']:,}",
                f"{row['M']:,}",
                size(row["fused MiB"]),
                size(row["naive MiB"]),
                f"{row['naive / fused']:.1f}",
            ]
            for row in found["memory"]
        ],
    )
    growth_table = table(
        ["B", "M", "time", "memory"],
        [
            [f"{row['B']:,}", f"{row['M']:,}", duration(row["fused s"]), size(row["MiB"])]
            for row in found["growth"]
        ],
    )
    text = (
        f"# Fused loss, forward and backward, D = {D}, float32\n\n{time_table}\n\n"
        "ids: with those of targets and candidates, so that accidental hits are ignored, as in training.\n\n"
        f"Peak memory beyond the inputs, gradients included:\n\n{memory_table}\n\n"
        f"Growth of the fused CROLoss (one thread), also in `loss_growth.png`:\n\n{growth_table}"
    )
    return found, text

"""A training step against the whole catalogue, beside what no such step avoids.

That is three bare matrix products, (B, D) × (D, M), (B, M) × (M, D) and (M, B) × (B, D), and one fused step
of Adam over the table. A step of ours is a whole one of YouTubeDNN with histories of 20, as a fit takes it:
forward, backward, optimizer; B 256, D 64. Also its memory beyond what it holds between two steps, weights,
gradient and Adam's moments. The same under autocast to bfloat16 has faster products on some processors.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.common.measuring import alternate, duration, peak_memory, ratio, size
from benchmarks.common.tables import table
from benchmarks.speed.growth import DIM, steps
from benchmarks.speed.settings import Settings

Row = dict[str, Any]
BATCH = 256
SIZES, QUICK = (10_000, 100_000, 1_000_000), (1_000, 2_000)
#: Similarity of each side, and whether it runs as with ``bf16-mixed``.
SIDES = {"cosine": ("cosine", False), "dot": ("dot", False), "cosine, bfloat16": ("cosine", True)}
MOST, MOST_GROWTH, MOST_MIB = 1.35, 10.5, 64


def bare(items: int) -> Callable[[], object]:
    """Return the three products, which write what they make, and a step of Adam."""
    torch.manual_seed(0)
    users, weight = torch.randn(BATCH, DIM), nn.Parameter(torch.randn(items, DIM))
    weight.grad = torch.randn(items, DIM)
    optimizer = torch.optim.Adam([weight], fused=True)

    @torch.no_grad()
    def run() -> None:
        scores = users @ weight.T
        scores @ weight
        scores.T @ users
        del scores
        optimizer.step()

    return run


def step(items: int, side: str) -> Callable[[], None]:
    """Return a step."""
    similarity, half = SIDES[side]
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=half)
    with autocast:
        take = steps("whole catalogue", items, BATCH, 1, similarity)
    under_it: Callable[[], None] = autocast(take)
    return under_it


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    rows: list[Row] = []
    for threads in settings.threads:
        torch.set_num_threads(threads)
        for items in QUICK if settings.quick else SIZES:
            sides: dict[str, Callable[[], object]] = {"bare": bare(items)}
            sides |= {name: step(items, name) for name in SIDES}
            seconds = alternate(sides, settings.repeats, settings.clock)
            del sides
            for name in SIDES:
                grown = peak_memory(step, items, name) if threads == 1 else None
                rows.append(
                    {
                        "items": items,
                        "side": name,
                        "threads": threads,
                        "s": statistics.median(seconds[name]),
                        "bare s": statistics.median(seconds["bare"]),
                        "ratio": ratio(seconds, name, "bare"),
                        "MiB": grown,
                    }
                )
    torch.set_num_threads(1)
    return rows, written(rows)


def written(rows: list[Row]) -> str:
    """Write the table, and how the step grows."""
    lines = [
        [
            f"{row['items']:,}",
            row["side"],
            str(row["threads"]),
            duration(row["s"]),
            duration(row["bare s"]),
            f"{row['ratio']:.2f}",
            "" if row["MiB"] is None else size(row["MiB"]),
        ]
        for row in rows
    ]
    head = ["items", "side", "threads", "step", "bare", "step / bare", "memory beyond"]
    notes = [
        f"bare: three products and a fused step of Adam. Goals: step / bare at most {MOST}, memory beyond at "
        f"most {MOST_MIB} MiB at 1,000,000 items."
    ]
    found = {(row["items"], row["side"], row["threads"]): row["s"] for row in rows}
    for items, name, threads in found:
        if items == 1_000_000:
            grown = found[items, name, threads] / found[100_000, name, threads]
            notes.append(
                f"{name}, {threads} thread(s): 1,000,000 items cost {grown:.1f} times 100,000 (goal: at most "
                f"{MOST_GROWTH})."
            )
    return "\n\n".join(["# A step against the whole catalogue", table(head, lines), *notes])

"""Each kernel in the place of cross-entropy: loss and backward, from logits and in the batch.

From logits (R, C) with one label a row, the whole catalogue; in the batch from users and items (B, 64), each
row's item against the others, where cross-entropy takes ``users @ items.T`` and ``arange(B)``. Logits and
vectors are leaves, so that nothing but the loss is measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common.measuring import alternate, duration, ratio
from benchmarks.common.tables import table
from benchmarks.speed.settings import Settings
from lightning_croloss import CROLoss

Row = dict[str, Any]
D = 64
KERNELS = ("exp", "softplus", "sigmoid")
#: What is called, its two sizes, and how many calls make one measurement.
CASES = (
    ("in_batch", 128, 128, 100),
    ("in_batch", 512, 512, 20),
    ("from_logits", 2048, 1682, 3),
    ("from_logits", 512, 50_000, 1),
)
GOAL = 1.3


def repeated(loss: Callable[[], Tensor], leaves: list[Tensor], calls: int) -> Callable[[], None]:
    """Return a function that computes loss and gradients ``calls`` times."""

    def run() -> None:
        for _ in range(calls):
            for leaf in leaves:
                leaf.grad = None
            loss().backward()

    return run


def from_logits(rows: int, columns: int, calls: int) -> dict[str, Callable[[], None]]:
    """Return the sides that start from logits."""
    generator = torch.Generator().manual_seed(0)
    logits = (0.3 * torch.randn(rows, columns, generator=generator)).requires_grad_()
    labels = torch.randint(0, columns, (rows,), generator=generator)

    def side(kernel: str) -> Callable[[], None]:
        loss = CROLoss(kernel)
        return repeated(lambda: loss.from_logits(logits, labels), [logits], calls)

    plain = repeated(lambda: functional.cross_entropy(logits, labels), [logits], calls)
    return {"cross_entropy": plain} | {kernel: side(kernel) for kernel in KERNELS}


def in_batch(rows: int, _: int, calls: int) -> dict[str, Callable[[], None]]:
    """Return the sides that start from vectors."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(rows, D, generator=generator) for _ in range(2)]
    users, items = (functional.normalize(vectors, dim=1).requires_grad_() for vectors in drawn)
    labels = torch.arange(rows)

    def side(kernel: str) -> Callable[[], None]:
        loss = CROLoss(kernel)
        return repeated(lambda: loss.in_batch(users, items), [users, items], calls)

    plain = repeated(lambda: functional.cross_entropy(users @ items.T, labels), [users, items], calls)
    return {"cross_entropy": plain} | {kernel: side(kernel) for kernel in KERNELS}


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    rows: list[Row] = []
    for threads in settings.threads:
        torch.set_num_threads(threads)
        for name, height, width, calls in CASES[:1] if settings.quick else CASES:
            make = {"from_logits": from_logits, "in_batch": in_batch}[name]
            seconds = alternate(make(height, width, calls), settings.repeats, settings.clock)
            row: Row = {"what": name, "rows": height, "columns": width, "threads": threads}
            row["cross_entropy s"] = statistics.median(seconds["cross_entropy"]) / calls
            for kernel in KERNELS:
                row[f"{kernel} / cross_entropy"] = ratio(seconds, kernel, "cross_entropy")
            rows.append(row)
    torch.set_num_threads(1)
    cells = [
        [
            row["what"],
            f"{row['rows']:,} × {row['columns']:,}",
            str(row["threads"]),
            duration(row["cross_entropy s"]),
            *(f"{row[f'{kernel} / cross_entropy']:.2f}" for kernel in KERNELS),
        ]
        for row in rows
    ]
    head = ["from", "scores", "threads", "cross_entropy", *(f"{kernel} by it" for kernel in KERNELS)]
    title = "# Loss and backward against torch's cross_entropy, float32"
    return rows, f"{title}\n\n{table(head, cells)}\n\nGoal from logits: ≤ {GOAL:g}."

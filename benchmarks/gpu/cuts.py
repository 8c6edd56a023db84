"""Which cuts of the score matrix are fastest, for ``losses/fused/triton/layout.py`` and for ranks.

python -m benchmarks.gpu cuts --out FOLDER writes ``cuts.jsonl`` there and prints the fastest of each kind.
All are compiled first, on every processor; then each is timed alone.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional
from triton.runtime.errors import OutOfResources

from benchmarks.common.rows import Row, Settings, identity
from benchmarks.common.runs import execute
from benchmarks.common.tables import table
from benchmarks.gpu.timing import seconds_of
from lightning_croloss.losses import SoftmaxLoss
from lightning_croloss.losses.fused.triton import sweeps
from lightning_croloss.losses.fused.triton.layout import Cut, Layout
from lightning_croloss.retrieval import target_ranks
from lightning_croloss.retrieval.triton import counts

#: Sizes that are timed, and those that compile the same without taking time: (rows, columns).
TIMED = {"loss": (4096, 200_000), "ranks": (1024, 1_000_000)}
COMPILED = {"loss": (16, 4096), "ranks": (16, 4096)}
#: Precisions of products by type of the vectors, all but "ieee" of float32 by tensor cores. Then sides of a
#: tile: what is summed up in the registers, rows forward and candidates backward, and what it is swept over;
#: and stages.
TRIED: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "bfloat16": (("ieee",), (64, 128), (32, 64, 128), (2, 3, 4)),
    "float32": (("tf32x3", "bf16x6", "ieee"), (32, 64, 128), (32, 64), (2,)),
}
RANKED = ((64, 64), (64, 128), (128, 128))
WARPS = (4, 8)
WIDTHS = (64, 128)
REPEATS = 5
SHOWN = 4


def runs(widths: Sequence[int]) -> list[Settings]:
    """Return the settings of every run for vectors of some widths."""
    made: list[Settings] = []
    for width in widths:
        for dtype, (precisions, kept, swept, stages) in TRIED.items():
            for precision, *cut in itertools.product(precisions, kept, swept, WARPS, stages):
                settings = dict(zip(("kept", "swept", "warps", "stages"), cut, strict=True))
                made.append({"of": "loss", "D": width, "dtype": dtype, "precision": precision, **settings})
        for precision, (kept, swept), warps in itertools.product(TRIED["float32"][0], RANKED, WARPS):
            settings = {"kept": kept, "swept": swept, "warps": warps, "stages": 2}
            made.append({"of": "ranks", "D": width, "dtype": "float32", "precision": precision, **settings})
    return made


def work(settings: Settings) -> Row:
    """Make one run: time it, or compile what it needs."""
    rows, columns = (TIMED if settings["timed"] else COMPILED)[settings["of"]]
    torch.manual_seed(0)
    dtype = getattr(torch, settings["dtype"])
    users, items = (
        functional.normalize(torch.randn(count, settings["D"], device="cuda"), dim=-1).to(dtype)
        for count in (rows, columns)
    )
    measure = _loss if settings["of"] == "loss" else _ranks
    try:
        return measure(settings, users, items, REPEATS if settings["timed"] else 0)
    except OutOfResources as error:
        return {"does not fit": str(error)}


def _typical(call: Callable[[], object], repeats: int) -> float:
    """Return the median milliseconds of a call after one that does not count; 0 for no repeats."""
    call()
    torch.cuda.synchronize()
    return 1000 * statistics.median(seconds_of(call, "cuda") for _ in range(repeats)) if repeats else 0.0


def _loss(settings: Settings, users: Tensor, items: Tensor, repeats: int) -> Row:
    leaves = [entry.clone().requires_grad_() for entry in (users, users, items)]
    ids = torch.arange(1, len(items) + 1, device="cuda")
    targets = torch.randint(1, len(items) + 1, (len(users),), device="cuda")
    loss = SoftmaxLoss(num_items=len(items), fused=True).to("cuda")
    kept, swept, *rest = (settings[name] for name in ("kept", "swept", "warps", "stages"))

    def choose(width: int, dtype: torch.dtype, device: torch.device) -> Layout:
        return real(width, dtype, device)._replace(
            sweep=Cut(kept, swept, *rest), gradient=Cut(swept, kept, *rest)
        )

    real = Layout.choose
    with (
        mock.patch.object(Layout, "choose", choose),
        mock.patch.object(sweeps, "_precision", return_value=settings["precision"]),
    ):

        def forward() -> Tensor:
            return loss.from_embeddings(*leaves, target_ids=targets, candidate_ids=ids)

        row: Row = {"forward ms": _typical(forward, repeats)}
        value = forward()
        row["backward ms"] = _typical(lambda: torch.autograd.grad(value, leaves, retain_graph=True), repeats)
    return row


def _ranks(settings: Settings, users: Tensor, items: Tensor, repeats: int) -> Row:
    targets = torch.randint(1, len(items) + 1, (len(users), 1), device="cuda")
    real = counts._told

    def told(users: Tensor, items: Tensor) -> dict[str, object]:
        return {**real(users, items), "PRECISION": settings["precision"], "num_warps": settings["warps"]}

    with (
        mock.patch.object(counts, "ROWS", settings["kept"]),
        mock.patch.object(counts, "COLUMNS", settings["swept"]),
        mock.patch.object(counts, "_told", told),
    ):
        seconds = _typical(lambda: target_ranks(users.unsqueeze(1), items, targets), repeats)
    return {"forward ms": seconds}


def measure_all(folder: Path) -> int:
    """Compile and time everything that has no row, print the fastest, and return 0."""
    asked = runs(WIDTHS)
    scratch = folder / "compiled.jsonl"
    made = execute([{**run, "timed": False} for run in asked], work, scratch, processes=os.cpu_count() or 1)
    fitting = {identity({**row["settings"], "timed": True}) for row in made.values() if "forward ms" in row}
    scratch.unlink()
    timed = [run for run in ({**run, "timed": True} for run in asked) if identity(run) in fitting]
    rows = execute(timed, work, folder / "cuts.jsonl", processes=1)
    print(report(rows.values()))
    return 0


def report(rows: Iterable[Row]) -> str:
    """Return the fastest cuts of each kernel, width and type."""
    kinds: defaultdict[tuple[str, ...], list[tuple[float, str]]] = defaultdict(list)
    for row in rows:
        settings = row["settings"]
        cut = ", ".join(str(settings[name]) for name in ("kept", "swept", "warps", "stages"))
        for name in ("forward ms", "backward ms"):
            if name in row:
                kind = (settings["of"], str(settings["D"]), settings["dtype"], settings["precision"], name)
                kinds[kind].append((row[name], cut))
    lines = [
        [*kind, cut, f"{milliseconds:.3g}"]
        for kind, found in sorted(kinds.items())
        for milliseconds, cut in sorted(found)[:SHOWN]
    ]
    return table(["of", "D", "dtype", "precision", "pass", "kept, swept, warps, stages", "ms"], lines)

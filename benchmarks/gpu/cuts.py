"""Which cuts of the score matrix are fastest, for ``losses/fused/triton/layout.py`` and for ranks.

python -m benchmarks.gpu cuts --out FOLDER writes ``cuts.jsonl`` there and prints the fastest of each kind.
All are compiled first, on every processor; then each is timed alone.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common.rows import Row, Settings
from benchmarks.common.runs import execute, exit_status
from benchmarks.common.tables import table
from benchmarks.gpu.timing import seconds_of, synchronize
from lightning_croloss.common.triton_switch import triton_kernels
from lightning_croloss.losses import SoftmaxLoss
from lightning_croloss.losses.fused.triton.layout import Cut, Layout
from lightning_croloss.retrieval import target_ranks
from lightning_croloss.retrieval.triton import counts

#: Sizes (rows, columns) that are timed; that compile the same without taking time; and that are checked.
TIMED = {"loss": (4096, 200_000), "ranks": (1024, 1_000_000)}
COMPILED = {"loss": (16, 4096), "ranks": (16, 4096)}
CHECKED = (512, 20_000)
#: (kept, swept, warps, stages): sides of a tile, first what is summed up in registers, rows forward and
#: candidates backward, then what it is swept over.
OF_HALF = (
    *((kept, swept, 4, 3) for kept, swept in ((64, 32), (64, 64), (64, 128), (128, 32), (128, 64))),
    *((kept, swept, 8, 3) for kept, swept in ((64, 128), (128, 64), (128, 128))),
    *((64, 64, 4, 4), (128, 64, 8, 4)),
)
OF_FLOAT = tuple(
    (*sides, 2) for sides in ((64, 32, 4), (64, 32, 8), (64, 64, 8), (32, 64, 8), (128, 32, 8), (128, 64, 8))
)
OF_IEEE = ((64, 64, 8, 2), (32, 64, 8, 2))
OF_RANKS = ((64, 64, 4, 2), (64, 64, 8, 2), (64, 128, 4, 2), (64, 128, 8, 2), (128, 128, 8, 2))
#: Type of the vectors, precision of the products, and what is tried.
TRIED = (
    ("bfloat16", "ieee", OF_HALF),
    ("float32", "tf32x3", OF_FLOAT),
    ("float32", "bf16x6", OF_FLOAT),
    ("float32", "ieee", OF_IEEE),
)
WIDTHS = (64, 128)
REPEATS = 5
SHOWN = 4


def runs(widths: Sequence[int], device: str) -> list[Settings]:
    """Return the settings of every run for vectors of some widths on a device."""
    made: list[Settings] = []
    for width, (dtype, precision, cuts) in itertools.product(widths, TRIED):
        kinds = [("loss", cut) for cut in cuts]
        if dtype == "float32" and precision == "ieee":
            kinds = kinds if width <= 64 else []  # the compiler takes minutes for each
        elif dtype == "float32":
            kinds += [("ranks", cut) for cut in OF_RANKS]
        made += [
            {
                **{"of": of, "device": device, "D": width, "dtype": dtype, "precision": precision},
                "cut": list(cut),
            }
            for of, cut in kinds
        ]
    return made


def check(settings: Settings) -> Row:
    """Compile what a run needs, and return the error of a loss; or that it needs too much memory."""
    from triton.runtime.errors import OutOfResources

    of = settings["of"]
    try:
        if of == "ranks":
            _ranks(settings, *_vectors(settings, COMPILED[of]), repeats=0)
            return {}
        _loss(settings, *_vectors(settings, COMPILED[of]), repeats=0)
        return {"difference": _difference(settings, *_vectors(settings, CHECKED))}
    except OutOfResources as error:
        return {"does not fit": str(error)}


def work(settings: Settings) -> Row:
    """Time a run."""
    of = settings["of"]
    measure = _loss if of == "loss" else _ranks
    return measure(settings, *_vectors(settings, TIMED[of]), repeats=REPEATS)


def _vectors(settings: Settings, sizes: tuple[int, int]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    dtype = getattr(torch, settings["dtype"])
    users, items = (
        functional.normalize(torch.randn(count, settings["D"], device=settings["device"]), dim=-1).to(dtype)
        for count in sizes
    )
    return users, items


def _typical(call: Callable[[], object], device: str, repeats: int) -> float:
    """Return the median milliseconds of a call after one that does not count; 0 for no repeats."""
    call()
    synchronize(device)
    return 1000 * statistics.median(seconds_of(call, device) for _ in range(repeats)) if repeats else 0.0


def _loss(settings: Settings, users: Tensor, items: Tensor, repeats: int) -> Row:
    with cut_by(settings):
        _, gradients = _softmax(users, items, fused=True)
        device = settings["device"]
        forward = _typical(lambda: _softmax(users, items, fused=True), device, repeats)
        return {"forward ms": forward, "backward ms": _typical(gradients, device, repeats)}


def _difference(settings: Settings, users: Tensor, items: Tensor) -> float:
    """Return the largest relative error of the value and the gradients against float64."""
    value, gradients = _softmax(users.double(), items.double(), fused=False)
    expected = [value, *gradients()]
    with cut_by(settings):
        value, gradients = _softmax(users, items, fused=True)
        found = [value, *gradients()]
    return max(
        float((one.double() - other).detach().norm() / other.detach().norm())
        for one, other in zip(found, expected, strict=True)
    )


@contextmanager
def cut_by(settings: Settings) -> Iterator[None]:
    """Let the kernels of the loss cut the scores as a run says."""
    kept, swept, *rest = settings["cut"]
    rest.append(settings["precision"])
    sweep, gradient = Cut(kept, swept, *rest), Cut(swept, kept, *rest)
    real = Layout.choose

    def choose(width: int, dtype: torch.dtype, device: torch.device) -> Layout:
        return real(width, dtype, device)._replace(sweep=sweep, gradient=gradient)

    with mock.patch.object(Layout, "choose", choose), triton_kernels(True):
        yield


def _softmax(users: Tensor, items: Tensor, fused: bool) -> tuple[Tensor, Callable[[], Sequence[Tensor]]]:
    """Return a loss, and what computes its gradients."""
    leaves = [entry.detach().clone().requires_grad_() for entry in (users, users.flip(0), items)]
    ids = torch.arange(1, len(items) + 1, device=items.device)
    loss = SoftmaxLoss(num_items=len(items), fused=fused).to(items.device)
    value = loss.from_embeddings(*leaves, target_ids=ids[: len(users)], candidate_ids=ids)
    return value, lambda: torch.autograd.grad(value, leaves, retain_graph=True)


def _ranks(settings: Settings, users: Tensor, items: Tensor, repeats: int) -> Row:
    targets = torch.randint(1, len(items) + 1, (len(users), 1), device=items.device)
    rows, columns, warps, _ = settings["cut"]
    constants = {"ROWS": rows, "COLUMNS": columns, "WARPS": warps, "PRECISION": settings["precision"]}

    def ranks() -> Tensor:
        return target_ranks(users.unsqueeze(1), items, targets)

    with mock.patch.multiple(counts, **constants), triton_kernels(True):
        return {"forward ms": _typical(ranks, settings["device"], repeats), "ranks": int(ranks().sum())}


def measure_all(folder: Path, device: str) -> int:
    """Compile and time all that has no row, print the fastest, and return 1 if anything failed, else 0."""
    asked = runs(WIDTHS, device)
    checks, times = folder / "checked.jsonl", folder / "cuts.jsonl"
    checked = execute(asked, check, checks, os.cpu_count() or 1)
    fitting = [row["settings"] for row in checked.values() if "does not fit" not in row]
    rows = execute(fitting, work, times, processes=1)
    print(report([{**checked[key], **row} for key, row in rows.items()]))
    return exit_status(asked, checks) | exit_status(fitting, times)


def report(rows: Iterable[Row]) -> str:
    """Return the fastest cuts of each kernel, width and type."""
    kinds: defaultdict[tuple[str, ...], list[tuple[float, str, str]]] = defaultdict(list)
    for row in rows:
        settings = row["settings"]
        cut = ", ".join(map(str, settings["cut"]))
        for name in ("forward ms", "backward ms"):
            if name in row:
                kind = (settings["of"], str(settings["D"]), settings["dtype"], settings["precision"], name)
                difference = f"{row['difference']:.1e}" if "difference" in row else ""
                kinds[kind].append((row[name], cut, difference))
    lines = [
        [*kind, cut, f"{milliseconds:.3g}", difference]
        for kind, found in sorted(kinds.items())
        for milliseconds, cut, difference in sorted(found)[:SHOWN]
    ]
    return table(
        ["of", "D", "dtype", "precision", "pass", "kept, swept, warps, stages", "ms", "difference"], lines
    )

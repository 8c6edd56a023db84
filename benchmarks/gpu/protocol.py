"""What is measured on a GPU, most important first, and the same in small for the CPU.

Each section is a process of its own with a limit of its own (run.sh), each row a run of its own: what breaks
or does not fit into memory is a row with its error.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from benchmarks.common.rows import Row, Settings

SECTIONS = ("loss", "step", "recall")
LOSSES = ("CROLoss", "softmax")
#: (B, M): those that the plain path can hold, and one that it cannot.
SHAPES = {"cuda": ((4096, 100_000), (512, 1_000_000), (4096, 1_000_000)), "cpu": ((32, 600), (8, 2000))}
WIDTHS = {"cuda": (64, 128), "cpu": (16,)}
DTYPES = ("bfloat16", "float32")
#: Scores that the plain path can hold, with their gradients and what lies between.
PLAIN_SCORES = 6e8
#: users, items, events, B, negatives, D, steps before and while the clock runs
STEPS = {"cuda": (50_000, 1_000_000, 60, 1024, 8192, 64, 30, 60), "cpu": (60, 400, 12, 16, 64, 8, 2, 4)}
MODELS = ("YouTubeDNN", "SASRec")
#: users, items, D
RECALL = {"cuda": (100_000, 1_000_000, 64), "cpu": (1500, 3000, 16)}
RECALL_SIDES = ("target_ranks", "portable", "portable, larger tiles", "torch top-k", "top_items")


def runs(section: str, device: str) -> list[Settings]:
    """Return the settings of every run of a section."""
    made = {"loss": _loss_runs, "step": _step_runs, "recall": _recall_runs}[section](device)
    return [{"section": section, "device": device, **settings} for settings in made]


def _loss_runs(device: str) -> Iterator[Settings]:
    compiled: list[Settings] = []
    for dtype, width in product(DTYPES, WIDTHS[device]):
        for rows, columns in SHAPES[device]:
            shape = {"B": rows, "M": columns, "D": width, "dtype": dtype}
            fits = rows * columns < PLAIN_SCORES
            yield {**shape, "loss": "none", "side": "products"}
            for loss in LOSSES:
                yield {**shape, "loss": loss, "side": "triton"}
                yield {**shape, "loss": loss, "side": "portable"}
                if fits:
                    yield {**shape, "loss": loss, "side": "plain"}
                if fits and (dtype, width) == (DTYPES[0], WIDTHS[device][0]):
                    compiled.append({**shape, "loss": loss, "side": "compiled"})
    yield from compiled  # which takes long: last, and once for each loss and shape


def _step_runs(device: str) -> Iterator[Settings]:
    users, items, events, rows, negatives, width, warm_up, steps = STEPS[device]
    for precision, model, profiled in product(("32-true", "bf16-mixed"), MODELS, (False, True)):
        yield {
            "model": model,
            "precision": precision,
            "profiled": profiled,
            **{"users": users, "items": items, "events": events, "B": rows, "negatives": negatives},
            **{"D": width, "warm_up": warm_up, "steps": steps},
        }


def _recall_runs(device: str) -> Iterator[Settings]:
    users, items, width = RECALL[device]
    for side in RECALL_SIDES:
        yield {"side": side, "users": users, "M": items, "D": width}


def work(settings: Settings) -> Row:
    """Make one run."""
    # imported where it is needed: a section starts sooner without the trainer
    if settings["section"] == "loss":
        from benchmarks.gpu.loss import measure
    elif settings["section"] == "step":
        from benchmarks.gpu.step import measure
    else:
        from benchmarks.gpu.recall import measure
    return measure(settings)

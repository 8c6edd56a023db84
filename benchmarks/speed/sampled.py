"""A training step with sampled negatives, beside that of another checkout of this repository.

YouTubeDNN, D = 64, histories of 20, B 1,024, 2,560 negatives among 43,097 items, AdamW: whole steps of a fit,
everything included (see sampled_worker.py). The other checkout is named by ``--before``, as of an earlier
commit; both take turns, in processes of their own. Always the processor's time of one thread.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.common.measuring import duration, ratio, scratch
from benchmarks.common.tables import table
from benchmarks.speed.settings import Settings

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]
BATCH = 1024
#: items, users, events of each user, negatives, steps of a round
SIZES, QUICK = (43_097, 60_000, 6, 2_560, 40), (200, 2_000, 6, 20, 2)
GOAL = 1.5


def write_events(path: Path, items: int, users: int, events: int) -> None:
    """Write events of which every item has some, the popular ones most."""
    generator = np.random.default_rng(0)
    drawn = (items * generator.random(users * events) ** 2).astype(np.int64)
    drawn[:items] = generator.permutation(items)[: len(drawn)]
    generator.shuffle(drawn)
    pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(users), events),
            "item_id": drawn,
            "timestamp": np.tile(np.arange(events), users),
        }
    ).write_parquet(path)


@contextmanager
def worker(root: Path, events: Path, negatives: int) -> Iterator[Callable[[int], float]]:
    """Start the process of a checkout.

    Yields:
        What takes some steps and returns the seconds of one.
    """
    paths = os.pathsep.join([str(root), str(root / "serving")])
    with subprocess.Popen(
        [
            sys.executable,
            "-P",
            str(Path(__file__).with_name("sampled_worker.py")),
            str(events),
            str(negatives),
        ],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def take(steps: int) -> float:
            with suppress(BrokenPipeError):
                print(steps, file=asked, flush=True)
            for line in answers:
                if line.startswith("seconds "):
                    return float(line.split()[1])
            raise RuntimeError(f"the process of {root} ended: try sampled_worker.py there by hand")

        try:
            yield take
        finally:
            with suppress(BrokenPipeError):  # one that has ended does not read
                asked.close()


def run(settings: Settings, folder: Path) -> tuple[list[Row], str]:
    """Measure and return the figures and their table."""
    items, users, events, negatives, steps = QUICK if settings.quick else SIZES
    roots = {"now": ROOT} | ({} if settings.before is None else {"before": settings.before})
    seconds: dict[str, list[float]] = {name: [] for name in roots}
    with scratch() as work, ExitStack() as stack:
        write_events(work / "events.parquet", items, users, events)
        sides = {
            name: stack.enter_context(worker(root, work / "events.parquet", negatives))
            for name, root in roots.items()
        }
        for _ in range(settings.repeats):
            for name, take in sides.items():
                seconds[name].append(take(steps))
    rows: list[Row] = [
        {"side": name, "items": items, "negatives": negatives, "s": statistics.median(found)}
        for name, found in seconds.items()
    ]
    head = ["checkout", "a step", "samples a second"]
    lines = [[row["side"], duration(row["s"]), f"{BATCH / row['s']:,.0f}"] for row in rows]
    notes = [f"{items:,} items, {negatives:,} negatives, B {BATCH:,}."]
    if "before" in seconds:
        rows[0]["times faster"] = faster = ratio(seconds, "before", "now")
        notes.append(f"{faster:.2f} times faster than before (goal: {GOAL}).")
    return rows, "\n\n".join(["# A step with sampled negatives", table(head, lines), *notes])

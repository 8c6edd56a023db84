"""Runs of a comparison: declared as settings, executed once each, kept as rows.

A comparison declares its runs as plain dictionaries. :func:`execute` runs those that have no row yet, several
processes side by side, and appends one row a run: stop it whenever you like and start it again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.common.rows import Row, Settings, identity, rows_of


def execute(
    runs: Iterable[Settings], work: Callable[[Settings], Row], path: Path, processes: int = 2
) -> dict[str, Row]:
    """Run what has no row yet and return the rows of all.

    Args:
        runs: the settings of each run, of plain types.
        work: a function at the top of a module, from settings to results.
        path: JSON lines, one row a run: ``{"settings": ..., **results}``.
        processes: how many runs side by side, each on one thread.
    """
    done = rows_of(path)
    waiting = [run for run in {identity(run): run for run in runs}.values() if identity(run) not in done]
    if not waiting:
        return done
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():  # drop a line that was cut off
        path.write_text("".join(json.dumps(row) + "\n" for row in done.values()))
    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(processes) as pool, path.open("a") as file:
        finished = pool.imap_unordered(_Work(work), waiting)
        for number, row in enumerate(finished, start=1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            done[identity(row["settings"])] = row
            print(f"{number}/{len(waiting)}  {identity(row['settings'])}", flush=True)
    return done


class _Work:
    """Joins settings and results; a class, because it must travel to another process."""

    def __init__(self, work: Callable[[Settings], Row]) -> None:
        self.work = work

    def __call__(self, settings: Settings) -> Row:
        return {"settings": settings, **self.work(settings)}

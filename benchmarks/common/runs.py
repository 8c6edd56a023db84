"""Runs of a comparison: declared as settings, executed once each, kept as rows.

A comparison declares its runs as plain dictionaries. :func:`execute` runs those that have no row yet, several
processes side by side, and appends one row a run: stop it whenever you like and start it again. A run that
fails is a row too, with its error; the others go on, and the next time it is tried again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from benchmarks.common.processes import run_all
from benchmarks.common.rows import Row, Settings, append_row, failures_of, identity, rows_of


def execute(
    runs: Iterable[Settings], work: Callable[[Settings], Row], path: Path, processes: int = 2
) -> dict[str, Row]:
    """Run what has no row yet, or a failed one, and return the rows of all that have finished.

    Args:
        runs: the settings of each run, of plain types.
        work: a function at the top of a module, from settings to results.
        path: JSON lines, one row a run, see :mod:`benchmarks.common.rows`.
        processes: how many runs side by side, each on one thread.

    Raises:
        KeyboardInterrupt: the user stops; the runs in hand are given up at once.
    """
    done = rows_of(path)
    waiting = [run for run in {identity(run): run for run in runs}.values() if identity(run) not in done]
    if not waiting:
        return done
    os.environ["OMP_NUM_THREADS"] = "1"
    with closing(run_all(waiting, work, processes)) as ended:
        for number, row in enumerate(ended, start=1):
            append_row(path, row)
            name = identity(row["settings"])
            if "error" in row:
                note = f"  FAILED  {row['error_type']}: {row['error']}"
            else:
                note = ""
                done[name] = row
            print(f"{number}/{len(waiting)}  {name}{note}", flush=True)
    return done


def exit_status(runs: Iterable[Settings], path: Path) -> int:
    """Return 1, and say so, if any of these runs has failed, else 0.

    Args:
        runs: the settings of the runs that were asked for.
        path: the rows.
    """
    failures = failures_of(path)
    asked = {identity(run) for run in runs}
    count = len(asked & failures.keys())
    if count:
        print(
            f"{count} of {len(asked)} runs failed (see {path}): the same command tries them again",
            file=sys.stderr,
        )
    return int(count > 0)

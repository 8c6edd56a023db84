"""Compare the losses, each tuned for each N, and write the tables.

python -m benchmarks.losses --data FOLDER --sets video diginetica        # full grids, then the winners
python -m benchmarks.losses --data FOLDER --sets cds toys --halving      # the grids by successive halving
python -m benchmarks.losses --data FOLDER --corners --sides CROLoss --halving   # what the rule is fitted to
python -m benchmarks.losses --report                                     # the tables again, from the rows
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from benchmarks.common.packed import packed
from benchmarks.common.rows import Settings, rows_of
from benchmarks.common.runs import execute, exit_status
from benchmarks.losses.choosing import finals, first_parts, grid, promising, trial
from benchmarks.losses.datasets import ARCHITECTURES, DATA_SETS
from benchmarks.losses.landscape import CORNERS
from benchmarks.losses.report import report
from benchmarks.losses.runs import num_targets, work
from benchmarks.losses.sides import TRIALS
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing. Return 1 if a run failed, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data", help="folder that holds the tables")
    parser.add_argument("--sets", nargs="*", default=list(DATA_SETS), choices=DATA_SETS)
    parser.add_argument("--sides", nargs="*", default=list(TRIALS), choices=TRIALS)
    parser.add_argument("--architecture", default="YouTubeDNN", choices=ARCHITECTURES)
    parser.add_argument(
        "--halving", action="store_true", help="a quarter of every trial, then the best third"
    )
    parser.add_argument(
        "--corners", action="store_true", help="also the settings that the rule of CROLoss(n=…) is fitted to"
    )
    parser.add_argument("--finals", action="store_true", help="also the winners, with three seeds")
    parser.add_argument("--report", action="store_true", help="only write the tables, from the rows")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    status = 0
    for data in arguments.sets if not arguments.report else []:
        status |= run(data, arguments)
    report(RESULTS)
    return status


def run(data: str, arguments: argparse.Namespace) -> int:
    """Run what a data set lacks."""
    path = RESULTS / data / "rows.jsonl"
    make = partial(work, folder=str(Path(arguments.data)))
    architecture, asked = arguments.architecture, list[Settings]()
    if arguments.halving:
        begun = [run for side in arguments.sides for run in first_parts(data, side, architecture)]
        execute(begun, make, path, arguments.processes)
        rows = rows_of(path)
        whole = [run for side in arguments.sides for run in promising(rows, data, side, architecture)]
        asked = [*begun, *whole]
    else:
        asked = whole = [run for side in arguments.sides for run in grid(data, side, architecture)]
    if arguments.corners:
        corners = [trial(data, "CROLoss", setting, architecture) for setting in CORNERS]
        asked = [*asked, *corners]
        whole = [*whole, *(run for run in corners if run not in whole)]
    rows = execute(whole, make, path, arguments.processes)
    if arguments.finals:
        # the hits of a row are counts: what they are parts of
        counts = num_targets(Path(arguments.data), data)
        write_atomically(RESULTS / data / "num_targets.json", (json.dumps(packed(counts)) + "\n").encode())
        winners = finals(rows, data, arguments.sides, architecture)
        execute(winners, make, path, arguments.processes)
        asked = [*asked, *winners]
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

"""Measure our models under a published protocol, and write the tables beside the published figures.

python -m benchmarks.published --data FOLDER --recipes     # what departures from the recipe do, one seed
python -m benchmarks.published --data FOLDER               # each side tuned, then tested on three seeds
python -m benchmarks.published --data FOLDER --others      # other families, with published settings
python -m benchmarks.published --report                    # the tables again, from the rows
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from benchmarks.common.rows import Settings
from benchmarks.common.runs import execute, exit_status
from benchmarks.published import others
from benchmarks.published.others import OTHERS
from benchmarks.published.plan import finals, searches, trials
from benchmarks.published.report import report
from benchmarks.published.runs import work
from benchmarks.published.sides import ARCHITECTURES, SIDES
from lightning_croloss.zoo.published import PUBLISHED

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing; write the tables. Return 1 if a run failed, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data", help="folder that holds the tables")
    parser.add_argument("--sets", nargs="*", default=list(PUBLISHED), choices=PUBLISHED)
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    parser.add_argument("--sides", nargs="*", default=list(SIDES), choices=SIDES)
    parser.add_argument("--recipes", action="store_true", help="only the trials of the recipes")
    parser.add_argument(
        "--others",
        nargs="*",
        metavar="MODEL",
        choices=OTHERS,
        help="only other families; all, or these",
    )
    parser.add_argument("--scratch", default="runs/published", help="folder of the searches' checkpoints")
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
    if arguments.others is not None:
        asked_others = others.runs(data, arguments.others or tuple(OTHERS))
        execute(asked_others, partial(others.work, folder=arguments.data), path, arguments.processes)
        return exit_status(asked_others, path)
    make = partial(work, folder=arguments.data, scratch=arguments.scratch)
    asked: list[Settings] = []
    for architecture in arguments.architectures:
        if arguments.recipes:
            runs = [run for side in arguments.sides for run in trials(data, architecture, side)]
            execute(runs, make, path, arguments.processes)
        else:
            runs = [run for run in searches(data, architecture) if run["side"] in arguments.sides]
            rows = execute(runs, make, path, arguments.processes)
            tested = [run for run in finals(rows, data, architecture) if run["side"] in arguments.sides]
            execute(tested, make, path, arguments.processes)
            runs += tested
        asked += runs
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

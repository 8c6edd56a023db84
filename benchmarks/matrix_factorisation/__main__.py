"""Run the published matrix-factorisation protocol with each loss, and write the tables.

python -m benchmarks.matrix_factorisation --data FOLDER --trials 1  # the authors' settings, and CROLoss
python -m benchmarks.matrix_factorisation --data FOLDER --finals    # all trials, the winners with three seeds
python -m benchmarks.matrix_factorisation --data FOLDER --sets mf_gowalla --trials 1
python -m benchmarks.matrix_factorisation --report                  # the tables again, from the rows
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.common.command import command_parser
from benchmarks.common.runs import execute, exit_status
from benchmarks.matrix_factorisation.choosing import finals, trials
from benchmarks.matrix_factorisation.protocol import PUBLISHED
from benchmarks.matrix_factorisation.report import report
from benchmarks.matrix_factorisation.runs import work
from benchmarks.matrix_factorisation.sides import TRIALS

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing and write the tables. Return 1 if a run failed, else 0."""
    parser = command_parser(__doc__, processes=2)
    parser.add_argument("--data", default="data", help="folder that holds the folders of the data sets")
    parser.add_argument("--sets", nargs="*", default=["mf_health", "mf_electronics"], choices=PUBLISHED)
    parser.add_argument("--sides", nargs="*", default=list(TRIALS), choices=TRIALS)
    parser.add_argument("--trials", type=int, help="only so many trials of each side")
    parser.add_argument("--finals", action="store_true", help="also the winners, with two more seeds")
    parser.add_argument("--folder", default="runs/matrix_factorisation", help="where the parts are written")
    arguments = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    make = partial(work, source=arguments.data, folder=arguments.folder)
    asked = []
    for data in arguments.sets if not arguments.report else []:
        most = None if arguments.trials is None else arguments.trials * len(arguments.sides)
        grid = trials(data, arguments.sides)[:most]
        rows = execute(grid, make, path, arguments.processes)
        asked += grid
        if arguments.finals:
            winners = finals(rows, data, arguments.sides)
            execute(winners, make, path, arguments.processes)
            asked += winners
        report(path, RESULTS)
    if arguments.report:
        report(path, RESULTS)
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

"""Run the comparison and write its table.

python -m benchmarks.recbole_models                          # what has no row yet, then the table
python -m benchmarks.recbole_models --models SASRec Caser    # of these models
python -m benchmarks.recbole_models --report                 # the table again, from the rows
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.common.command import command_parser, write_table
from benchmarks.common.rows import rows_of
from benchmarks.common.runs import execute, exit_status
from benchmarks.recbole_models.protocol import MODELS, runs, work
from benchmarks.recbole_models.report import report

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing; write the table. Return 1 if a run failed, else 0."""
    parser = command_parser(__doc__, processes=1)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    given = parser.parse_args()
    path, asked = RESULTS / "rows.jsonl", runs(given.models)
    if not given.report:
        execute(asked, work, path, given.processes)
    text = report(rows_of(path))
    write_table(RESULTS, text)
    return 0 if given.report else exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

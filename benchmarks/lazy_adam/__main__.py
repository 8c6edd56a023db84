"""Run the comparison and write its table.

python -m benchmarks.lazy_adam --data FOLDER     # what has no row yet, then the table
python -m benchmarks.lazy_adam --report          # the table again, from the rows
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.common.command import command_parser, write_table
from benchmarks.common.rows import Settings, failures_of, rows_of
from benchmarks.common.runs import execute, exit_status
from benchmarks.lazy_adam.protocol import runs, work
from benchmarks.lazy_adam.report import report

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing; write the table. Return 1 if a run failed, else 0."""
    parser = command_parser(__doc__, processes=2)
    parser.add_argument("--data", default="data", help="folder that holds ciao.parquet")
    given = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    asked: list[Settings] = []
    if not given.report:
        asked = runs()
        execute(asked, partial(work, folder=given.data), path, given.processes)
    text = report(rows_of(path), failures_of(path))
    write_table(RESULTS, text)
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

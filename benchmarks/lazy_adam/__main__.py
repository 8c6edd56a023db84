"""Run the comparison and write its table.

python -m benchmarks.lazy_adam --data FOLDER     # what has no row yet, then the table
python -m benchmarks.lazy_adam --report          # the table again, from the rows
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from benchmarks.common.rows import Settings, failures_of, rows_of
from benchmarks.common.runs import execute, exit_status
from benchmarks.lazy_adam.protocol import runs, work
from benchmarks.lazy_adam.report import report
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing; write the table. Return 1 if a run failed, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data", help="folder that holds ciao.parquet")
    parser.add_argument("--report", action="store_true", help="only write the table, from the rows")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    asked: list[Settings] = []
    if not given.report:
        asked = runs()
        execute(asked, partial(work, folder=given.data), path, given.processes)
    text = report(rows_of(path), failures_of(path))
    write_atomically(RESULTS / "results.md", text.encode())
    print(text)
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

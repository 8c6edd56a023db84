"""Run the comparison and write its table.

python -m benchmarks.recbole_models                          # what has no row yet, then the table
python -m benchmarks.recbole_models --models SASRec Caser    # of these models
python -m benchmarks.recbole_models --report                 # the table again, from the rows
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common.rows import rows_of
from benchmarks.common.runs import execute, exit_status
from benchmarks.recbole_models.protocol import MODELS, runs, work
from benchmarks.recbole_models.report import report
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing; write the table. Return 1 if a run failed, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--report", action="store_true", help="only write the table, from the rows")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    path, asked = RESULTS / "rows.jsonl", runs(given.models)
    if not given.report:
        execute(asked, work, path, given.processes)
    text = report(rows_of(path))
    write_atomically(RESULTS / "results.md", text.encode())
    print(text)
    return 0 if given.report else exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

"""Run the comparison and write its tables.

python -m benchmarks.ml_100k            # everything that has no row yet, then the tables
python -m benchmarks.ml_100k --report   # the tables again, from the rows
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.common.command import command_parser
from benchmarks.common.rows import Settings
from benchmarks.common.runs import execute, exit_status
from benchmarks.ml_100k.protocol import (
    ARCHITECTURES,
    baseline_runs,
    best_settings,
    final_runs,
    tuning_runs,
    work,
)
from benchmarks.ml_100k.report import report

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing; write the tables. Return 1 if a run failed, else 0."""
    parser = command_parser(__doc__, processes=2)
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES))
    arguments = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    asked: list[Settings] = []
    if not arguments.report:
        asked = baseline_runs() + tuning_runs()
        rows = execute(asked, work, path, arguments.processes)
        finals = final_runs(best_settings(rows), arguments.architectures)
        execute(finals, work, path, arguments.processes)
        asked += finals
    report(path, RESULTS)
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

"""Run the swap of one framework and write the table of all, into docs/swap.md as well.

python -m benchmarks.swap plain_two_tower               # what has no row yet, then the table
python -m benchmarks.swap plain_two_tower --losses cross_entropy CROLoss
python -m benchmarks.swap                               # the table again, from the rows
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.common.command import command_parser, write_table
from benchmarks.common.rows import rows_of
from benchmarks.common.runs import execute, exit_status
from benchmarks.swap.frameworks import final_runs, tuning_runs, work
from benchmarks.swap.report import report, write_into

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[2] / "docs" / "swap.md"


def main() -> int:
    """Read the arguments; run what is missing; write the table. Return 1 if a run failed, else 0."""
    parser = command_parser(__doc__, processes=1, report=False)
    parser.add_argument("framework", nargs="?", help="a file of this folder, without .py")
    parser.add_argument("--losses", nargs="*", help="only these of its losses")
    given = parser.parse_args()
    status = 0
    if given.framework:
        path = RESULTS / f"{given.framework}.jsonl"
        asked = tuning_runs(given.framework, given.losses)
        execute(asked, work, path, given.processes)
        finals = final_runs(rows_of(path), given.framework, given.losses)
        execute(finals, work, path, given.processes)
        status = exit_status([*asked, *finals], path)
    text = report(RESULTS)
    write_table(RESULTS, text)
    write_into(PAGE, RESULTS)
    return status


if __name__ == "__main__":
    raise SystemExit(main())

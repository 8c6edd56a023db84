"""Run the comparison and write its table.

python -m benchmarks.finetune --data FOLDER      # what has no row yet, then the table
python -m benchmarks.finetune --report           # the table again, from the rows
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.common.command import command_parser, write_table
from benchmarks.common.rows import Settings, failures_of, rows_of
from benchmarks.common.runs import execute, exit_status
from benchmarks.finetune.protocol import base_of, pretraining_runs, runs, work
from benchmarks.finetune.report import report

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments; run what is missing; write the table. Return 1 if a run failed, else 0."""
    parser = command_parser(__doc__, processes=2)
    parser.add_argument("--data", default="data", help="folder that holds video.parquet")
    parser.add_argument("--work", default="runs/finetune", help="folder for parts and pretrained models")
    given = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    asked: list[Settings] = []
    if not given.report:
        run = partial(work, folder=given.work, source=str(Path(given.data) / "video.parquet"))
        asked = pretraining_runs()
        pretrained = execute(asked, run, path, given.processes)
        # what builds on a pretraining that failed waits until that is made good
        finals = [settings for settings in runs() if base_of(settings) in (None, *pretrained)]
        execute(finals, run, path, given.processes)
        asked += finals
    text = report(rows_of(path), failures_of(path))
    write_table(RESULTS, text)
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

"""Run the comparison and write its table.

python -m benchmarks.finetune --data FOLDER      # what has no row yet, then the table
python -m benchmarks.finetune --report           # the table again, from the rows
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from benchmarks.common.rows import rows_of
from benchmarks.common.runs import execute
from benchmarks.finetune.protocol import pretraining_runs, runs, work
from benchmarks.finetune.report import report
from lightning_croloss.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Read the arguments; run what is missing; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="data", help="folder that holds video.parquet")
    parser.add_argument("--work", default="runs/finetune", help="folder for parts and pretrained models")
    parser.add_argument("--report", action="store_true", help="only write the table, from the rows")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    if not given.report:
        run = partial(work, folder=given.work, source=str(Path(given.data) / "video.parquet"))
        execute(pretraining_runs(), run, path, given.processes)
        execute(runs(), run, path, given.processes)
    text = report(rows_of(path))
    write_atomically(RESULTS / "results.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()

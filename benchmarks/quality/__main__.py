"""Run the comparison and write its tables.

python -m benchmarks.quality --data FOLDER            # everything that has no row yet, then the tables
python -m benchmarks.quality --report                 # the tables again, from the rows
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from benchmarks.common.command import command_parser
from benchmarks.common.rows import Settings
from benchmarks.common.runs import execute, exit_status
from benchmarks.quality.protocol import ARCHITECTURES, final_runs, num_targets, tuning_runs, work
from benchmarks.quality.report import report
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results" / "video"


def main() -> int:
    """Read the arguments; run what is missing; write the tables. Return 1 if a run failed, else 0."""
    parser = command_parser(__doc__, processes=2)
    parser.add_argument("--data", default="data", help="folder that holds video.parquet")
    parser.add_argument("--architectures", nargs="*", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    arguments = parser.parse_args()
    path = RESULTS / "rows.jsonl"
    asked: list[Settings] = []
    if not arguments.report:
        file = str(Path(arguments.data) / "video.parquet")
        run = partial(work, path=file)
        # the hits of a row are counts: what they are parts of
        targets = json.dumps(num_targets(file).tolist()) + "\n"
        write_atomically(RESULTS / "num_targets.json", targets.encode())
        asked = tuning_runs()
        rows = execute(asked, run, path, arguments.processes)
        finals = final_runs(rows, arguments.architectures)
        execute(finals, run, path, arguments.processes)
        asked += finals
    report(path, RESULTS)
    return exit_status(asked, path)


if __name__ == "__main__":
    raise SystemExit(main())

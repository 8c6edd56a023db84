"""A section of the speed, or the summary; run.sh calls it.

python -m benchmarks.gpu loss step recall --out FOLDER    # what has no row yet, section by section
python -m benchmarks.gpu environment --out FOLDER         # device and versions; fails without it
python -m benchmarks.gpu summary --out FOLDER             # summary.json and summary.md of all that is there
python -m benchmarks.gpu cuts --out FOLDER                # which tiles are fastest, for who changes a kernel
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.common.command import command_parser
from benchmarks.common.runs import execute, exit_status
from benchmarks.gpu.protocol import SECTIONS, runs, work
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Read the arguments and do what they name. Return 1 if anything failed, else 0."""
    parser = command_parser(__doc__)
    parser.add_argument("parts", nargs="+", choices=[*SECTIONS, "environment", "summary", "cuts"])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    status = 0
    for part in given.parts:
        if part == "environment":
            from benchmarks.gpu.environment import environment

            text = json.dumps(environment(given.device), indent=1)
            write_atomically(given.out / "environment.json", text.encode())
            print(text)
        elif part == "summary":
            from benchmarks.gpu.summary import is_clean, summarize

            status |= not is_clean(summarize(given.out, given.device))
            print((given.out / "summary.md").read_text())
        elif part == "cuts":
            from benchmarks.gpu.cuts import measure_all

            status |= measure_all(given.out, given.device)
        else:
            asked = runs(part, given.device)
            # one process, so that no run disturbs another; one whose run failed is replaced
            execute(asked, work, given.out / "speed.jsonl", processes=1)
            status |= exit_status(asked, given.out / "speed.jsonl")
    return int(status)


if __name__ == "__main__":
    raise SystemExit(main())

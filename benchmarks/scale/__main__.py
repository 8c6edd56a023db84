"""One training run on a synthetic table of 1,000,000 items and 5,000,000 interactions.

python -m benchmarks.scale [--items 1000000] [--interactions 5000000] [--steps 4000] [--threads 1]

Writes memory, speed and quality to benchmarks/scale/results/; what is run is in protocol.py.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import machine
from benchmarks.scale.protocol import run
from benchmarks.scale.report import written
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Read the arguments, run, write."""
    parser = command_parser(__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--interactions", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    facts = machine()
    row = run(given.items, given.interactions, given.steps, given.threads)
    text = written(row, facts)
    given.output.mkdir(parents=True, exist_ok=True)
    record = json.dumps({"machine": facts, **row}, indent=1) + "\n"
    write_atomically(given.output / "scale.json", record.encode())
    write_atomically(given.output / "scale.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()

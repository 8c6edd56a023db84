"""Latency of one request and Recall lost, exact and approximate search, one thread.

python -m benchmarks.serve [--items 100000] [--requests 300] [--quick]

Writes the table, its figures and a plot into benchmarks/serve/results/; what is run is in protocol.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import machine
from benchmarks.serve.protocol import measure, models
from benchmarks.serve.report import plot, written
from croloss_serving.index import import_faiss
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Read the arguments, measure, print and write the table, its figures and the plot."""
    parser = command_parser(__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the command")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    items, requests = (2000, 20) if given.quick else (given.items, given.requests)
    torch.set_num_threads(1)
    import_faiss("this benchmark").omp_set_num_threads(1)
    before = machine()
    rows = []
    for name, model in models(items).items():
        rows += measure(name, model, items, requests)
    facts = before | {"load at the end": machine()["load"]}
    text = written(rows, items, requests, facts)
    given.output.mkdir(parents=True, exist_ok=True)
    record = {"machine": facts, "items": items, "requests": requests, "rows": rows}
    write_atomically(given.output / "serve.json", (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(given.output / "serve.md", text.encode())
    plot(rows, given.output / "recall_against_latency.png")
    print(text)


if __name__ == "__main__":
    main()

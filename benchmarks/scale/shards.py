"""A catalogue of 5,000,000 items on 1, 2 and 4 processes: memory, time and traffic of a step.

python -m benchmarks.scale.shards [--items 5000000] [--processes 1 2 4] [--dim 64] [--batch 256] [--steps 10]

Each run also runs with 1,000 items; what it takes more than that is what the table takes. Writes to
benchmarks/scale/results/; what a step is stands in sharded_step.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import machine
from benchmarks.scale.sharded_step import KINDS, LENGTH, NEGATIVES, run
from lightning_croloss.common.files import write_atomically
from lightning_croloss.common.text_table import markdown

RESULTS = Path(__file__).parent / "results"
FEW = 1000
#: The whole catalogue has a gradient, too, and its loss compares every row with every item.
WHOLE_DIM, WHOLE_BATCH, WHOLE_STEPS = 16, 32, 2
MIB = 2**20


def measured(kind: str, processes: int, items: int, dim: int, batch: int, steps: int) -> dict[str, Any]:
    """Return the row of one number of processes."""
    ranks = run(kind, processes, items, dim, batch, steps)
    few = run(kind, processes, FEW, dim, batch, 1)
    beyond = [one["peak_mib"] - other["peak_mib"] for one, other in zip(ranks, few, strict=True)]
    total = sum(rank["state_mib"] for rank in ranks)
    return {
        "settings": {"kind": kind, "processes": processes, "items": items, "dim": dim, "batch": batch},
        "total_mib": total,
        "peak_mib": max(rank["peak_mib"] for rank in ranks),
        "few_mib": max(rank["peak_mib"] for rank in few),
        "beyond_mib": max(beyond),
        "share": max(beyond) / (total / processes),
        "wall_ms": max(rank["wall_ms"] for rank in ranks),
        "process_ms": max(rank["process_ms"] for rank in ranks),
        "traffic": {
            name: sum(rank["traffic"].get(name, 0) for rank in ranks) / processes
            for name in sorted({name for rank in ranks for name in rank["traffic"]})
        },
    }


def written(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Write what was measured as a text."""
    header = ["step", "W", "D", "table and state, all", "a process beyond 1,000 items", "of all / W"]
    header += ["wall, ms", "computed, ms", "sent, KiB", "calls"]
    body = [
        [
            *(str(row["settings"][name]) for name in ("kind", "processes", "dim")),
            f"{row['total_mib']:,.0f} MiB",
            f"{row['beyond_mib']:,.0f} MiB",
            f"{row['share']:.2f}",
            f"{row['wall_ms']:,.0f}",
            f"{row['process_ms']:,.0f}",
            f"{sent(row) / 1024:,.0f}",
            f"{row['traffic']['calls']:.0f}",
        ]
        for row in rows
    ]
    batches = {row["settings"]["kind"]: row["settings"]["batch"] for row in rows}
    items, rows_of = rows[0]["settings"]["items"], {kind: batches.get(kind, 0) for kind in KINDS}
    text = (
        f"{items:,} items; each process has {rows_of['sampled']} rows of a batch with histories of {LENGTH} "
        f"({rows_of['whole']} where the loss is over the whole catalogue) and {NEGATIVES:,} negatives; "
        "LazyAdam, over the whole catalogue Adam; gloo on one machine. The table and its state: the rows, "
        "two moments, and the last steps or, over the whole catalogue, a gradient as large as the rows. Of "
        "all processes the largest; *sent* by each to others in a step. The processes share the cores with "
        "other work: *computed* is a process's own time."
    )
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    title = "# A catalogue in shards\n\nWritten by `python -m benchmarks.scale.shards`.\n\n"
    return f"{title}{text}\n\n{markdown(header, body)}\n\n{described}.\n"


def sent(row: dict[str, Any]) -> float:
    """Return the bytes that a process sends in a step."""
    return float(sum(count for name, count in row["traffic"].items() if name != "calls"))


def main() -> None:
    """Read the arguments, run, write."""
    parser = command_parser(__doc__)
    parser.add_argument("--items", type=int, default=5_000_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    facts = machine()
    rows = []
    for kind in KINDS:
        whole = kind == "whole"
        sizes = (WHOLE_DIM, WHOLE_BATCH, WHOLE_STEPS) if whole else (given.dim, given.batch, given.steps)
        for processes in given.processes:
            rows.append(measured(kind, processes, given.items, *sizes))
            print(json.dumps(rows[-1]), flush=True)
    text = written(rows, facts)
    given.output.mkdir(parents=True, exist_ok=True)
    record = json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n"
    write_atomically(given.output / "shards.json", record.encode())
    write_atomically(given.output / "shards.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()

"""Gradients of a table that every process holds whole: the rows in use, exchanged, against the whole table.

python -m benchmarks.scale.exchanged_rows [--rows 1000000] [--dim 64] [--used 7936] [--processes 2 4]

``used`` rows are drawn at random in each process, as many as a batch of 256 with histories of 20 and 2,560
negatives looks up. Both ways end with the same mean. Writes to benchmarks/scale/results/.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from torch import distributed, nn

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import machine
from benchmarks.common.traffic import counted_traffic
from lightning_croloss.common.files import write_atomically
from lightning_croloss.common.text_table import markdown
from lightning_croloss.training.row_exchange import average_rows

RESULTS = Path(__file__).parent / "results"
REPEATS = 3


def run(processes: int, rows: int, dim: int, used: int) -> dict[str, Any]:
    """Return what the first of the processes measured."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (processes, folder, rows, dim, used)
        torch.multiprocessing.start_processes(_process, arguments, nprocs=processes, start_method="spawn")
        measured: dict[str, Any] = torch.load(Path(folder, "0.pt"), weights_only=True)
    return {"processes": processes, "rows": rows, "dim": dim, "used": used, **measured}


def _process(rank: int, world_size: int, folder: str, rows: int, dim: int, used: int) -> None:
    torch.set_num_threads(1)
    store = Path(folder, "rendezvous").as_uri()
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
    generator = torch.Generator().manual_seed(rank)
    ids = torch.randint(0, rows, (used,), generator=generator)
    values = torch.randn(used, dim, generator=generator)
    weight = nn.Parameter(torch.zeros(rows, dim))
    found: dict[str, Any] = {}
    for name in ("rows in use", "whole table"):
        spent = []
        for _ in range(REPEATS):
            gradient = torch.sparse_coo_tensor(ids.unsqueeze(0), values, (rows, dim), check_invariants=False)
            weight.grad = gradient if name == "rows in use" else gradient.to_dense()
            distributed.barrier()
            begin = time.perf_counter()
            with counted_traffic() as traffic:
                average_rows([weight])
            spent.append(1000 * (time.perf_counter() - begin))
        found[name] = {"ms": min(spent), "bytes": sum(n for kind, n in traffic.items() if kind != "calls")}
        found[name]["mean"] = weight.grad.to_dense() if name == "rows in use" else weight.grad
    one, other = (found[name].pop("mean") for name in found)
    found["largest difference"] = float((one - other).abs().max())
    if rank == 0:
        torch.save(found, Path(folder, "0.pt"))
    distributed.destroy_process_group()


def written(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Write what was measured as a text."""
    head = ["processes", "rows in use: sent", "time", "whole table: sent", "time", "largest difference"]
    body = []
    for row in rows:
        cells = [
            cell
            for name in ("rows in use", "whole table")
            for cell in (f"{row[name]['bytes'] / 2**20:,.1f} MiB", f"{row[name]['ms']:,.0f} ms")
        ]
        body.append([str(row["processes"]), *cells, f"{row['largest difference']:.1g}"])
    first = rows[0]
    text = (
        f"A table of {first['rows']:,} rows of {first['dim']} numbers, of which each process uses "
        f"{first['used']:,}, drawn at random; gloo on one machine, which did other work beside; the best of "
        f"{REPEATS}. Sent by one process to others; the whole table as a ring sends it."
    )
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    title = "# Gradients exchanged row by row\n\nWritten by `python -m benchmarks.scale.exchanged_rows`.\n\n"
    return f"{title}{text}\n\n{markdown(head, body)}\n\n{described}.\n"


def main() -> None:
    """Read the arguments, run, write."""
    parser = command_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--used", type=int, default=7936)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    facts = machine()
    rows = [run(processes, given.rows, given.dim, given.used) for processes in given.processes]
    text = written(rows, facts)
    given.output.mkdir(parents=True, exist_ok=True)
    record = json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n"
    write_atomically(given.output / "exchanged_rows.json", record.encode())
    write_atomically(given.output / "exchanged_rows.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()

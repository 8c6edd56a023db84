"""The traffic of a training step on 8 and 64 devices, from the bytes that are counted on 2 and 4 processes.

python -m benchmarks.scale.simulation [--check 6] [--batch 256] [--dim 64]

A collective sends, beside what does not depend on the number of processes W, two kinds of bytes: a share
(W − 1) / W of what a process asks for or is asked for, and (W − 1) times what it tells each of the others.
Two counts give both; a third number of processes checks them. All ids of a step are different, as nearly all
are that are drawn at random out of 10⁸ items: the catalogue plays no other part. Writes to
benchmarks/scale/results/.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import machine
from benchmarks.scale.sharded_step import KINDS, LENGTH, NEGATIVES, run
from lightning_croloss.common.files import write_atomically
from lightning_croloss.common.text_table import markdown

RESULTS = Path(__file__).parent / "results"
#: Where the bytes are counted.
COUNTED = (2, 4)
#: Items of the counted runs: enough that few ids come twice, few enough for a step over all of them.
ITEMS = {"sampled": 1_000_000, "whole": 200_000}
DEVICES, CATALOGUES = (8, 64), (10**8, 10**9)
#: Bytes a second of a device's connection.
NETWORKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 1.25e10, "400 GB/s": 4e11}
#: Floating point operations a second that a device is supposed to reach in the loss.
SPEED = 1e14
FLOAT = 4
#: Numbers for each of a row's D where the gradient is dense: row, two moments, gradient and what a step
#: holds for a moment, as `python -m benchmarks.scale.shards` measures.
DENSE = 4.2


class Volume(NamedTuple):
    """What one process sends in a step, in bytes: ``shared`` (W − 1) / W + ``told`` (W − 1)."""

    shared: float
    told: float

    @classmethod
    def of(cls, counts: Sequence[tuple[int, float]]) -> Volume:
        """Return the volume of which two counts, of W processes each, are."""
        (one, first), (other, second) = counts
        per_one, per_other = first / (one - 1), second / (other - 1)  # shared / W + told
        shared = (per_one - per_other) / (1 / one - 1 / other)
        return cls(shared, per_one - shared / one)

    def sent(self, processes: int) -> float:
        """Return the bytes that one of so many processes sends."""
        return (processes - 1) * (self.shared / processes + self.told)


def count(kind: str, processes: int, batch: int, dim: int) -> dict[str, float]:
    """Return the mean over the processes of what each sends in a step, by collective, and its calls."""
    ranks = run(kind, processes, ITEMS[kind], dim, batch, steps=1, first=0, even=True)
    names = sorted({name for rank in ranks for name in rank["traffic"]})
    return {name: sum(rank["traffic"].get(name, 0.0) for rank in ranks) / processes for name in names}


def bytes_of(counts: dict[str, float]) -> float:
    """Return the bytes of all collectives."""
    return sum(value for name, value in counts.items() if name != "calls")


def memory(kind: str, items: int, processes: int, dim: int) -> float:
    """Return the bytes of a device's rows and their state, and of a dense gradient where there is one."""
    numbers = 3 * dim * FLOAT + 8 if kind == "sampled" else DENSE * dim * FLOAT
    return numbers * items / processes


def operations(kind: str, items: int, batch: int, dim: int) -> float:
    """Return the floating point operations of a device's part of the loss and its gradients in a step."""
    return 6.0 * batch * dim * (NEGATIVES if kind == "sampled" else items)


def simulated(volumes: dict[str, Volume], batch: int, dim: int) -> list[dict[str, Any]]:
    """Return a row for each kind of step, catalogue and number of devices."""
    rows = []
    for kind, volume in volumes.items():
        for items in CATALOGUES:
            for devices in DEVICES:
                sent = volume.sent(devices)
                rows.append(
                    {
                        "kind": kind,
                        "items": items,
                        "devices": devices,
                        "memory_gb": memory(kind, items, devices, dim) / 1e9,
                        "sent_mb": sent / 1e6,
                        "tflop": operations(kind, items, batch, dim) / 1e12,
                        "ms": {name: 1000 * sent / speed for name, speed in NETWORKS.items()},
                    }
                )
    return rows


def written(record: dict[str, Any], facts: dict[str, Any]) -> str:
    """Write the simulation as a text."""
    batch, dim = record["batch"], record["dim"]
    checks = [
        f"- {kind}: {'; '.join(_compared(found))}; {found['volume'][0] / 1e6:.2f} MB · (W − 1) / W + "
        f"{found['volume'][1] / 1e6:.3f} MB · (W − 1)"
        for kind, found in record["counted"].items()
    ]
    head = ["step", "items", "devices", "memory of the table, a device", "sent by a device"]
    head += [f"at {name}" for name in NETWORKS] + ["arithmetic", f"at {SPEED / 1e12:.0f} TFLOP/s"]
    body = [
        [
            row["kind"],
            f"{row['items']:.0e}".replace("e+0", "e"),
            str(row["devices"]),
            f"{row['memory_gb']:,.1f} GB",
            f"{row['sent_mb']:,.1f} MB",
            *(f"{value:,.2f} ms" for value in row["ms"].values()),
            f"{row['tflop']:,.3g} TFLOP",
            f"{1e15 * row['tflop'] / SPEED:,.3g} ms",
        ]
        for row in record["rows"]
    ]
    return "\n".join(
        [
            "# Traffic of a step on many devices",
            "",
            "Written by `python -m benchmarks.scale.simulation`.",
            "",
            f"Each device has {batch} rows with histories of {LENGTH} and, for *sampled*, {NEGATIVES:,} "
            f"negatives; D = {dim}, float32. Bytes that one process sends to others in a step, counted with "
            "gloo, and what the two smaller numbers say of the largest:",
            "",
            *checks,
            "",
            "From these, and from no run on such devices (time of the network at full speed without latency, "
            "and of the arithmetic of the loss alone):",
            "",
            markdown(head, body),
            "",
            ", ".join(f"{key} {value}" for key, value in facts.items()) + ".",
            "",
        ]
    )


def _compared(found: dict[str, Any]) -> list[str]:
    counted = [f"{sent / 1e6:.3f} MB of W = {processes}" for processes, sent in found["sent"]]
    return [*counted, f"{found['expected'] / 1e6:.3f} MB expected at W = {found['sent'][-1][0]}"]


def main() -> None:
    """Read the arguments, count, write."""
    parser = command_parser(__doc__)
    parser.add_argument("--check", type=int, default=6, help="the number of processes that checks the others")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    facts = machine()
    counted: dict[str, Any] = {}
    volumes: dict[str, Volume] = {}
    for kind in KINDS:
        sent = []
        for processes in (*COUNTED, given.check):
            sent.append((processes, bytes_of(count(kind, processes, given.batch, given.dim))))
            print(kind, *sent[-1], flush=True)
        volumes[kind] = Volume.of(sent[:2])
        expected = volumes[kind].sent(given.check)
        counted[kind] = {"sent": sent, "expected": expected, "volume": list(volumes[kind])}
    record = {"batch": given.batch, "dim": given.dim, "counted": counted}
    record["rows"] = simulated(volumes, given.batch, given.dim)
    text = written(record, facts)
    given.output.mkdir(parents=True, exist_ok=True)
    write_atomically(
        given.output / "simulation.json", (json.dumps({"machine": facts, **record}, indent=1) + "\n").encode()
    )
    write_atomically(given.output / "simulation.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()

"""A table of 10,000,000 events on 1, 2 and 4 processes: memory and time until the first batch.

python -m benchmarks.scale.partitions [--events 10000000] [--processes 1 2 4] [--partitions 64]

Each number of processes reads the table divided by ``croloss data partition``, each process its own
partitions: once when the summary of the folder is found out, and once when it is there; and one or two read
the table as a whole in every process. Writes to benchmarks/scale/results/; what a process does stands in
start.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import machine
from benchmarks.scale.start import run
from lightning_croloss.common.files import write_atomically
from lightning_croloss.common.text_table import markdown
from lightning_croloss.data.partitions.manifest import PREPARED

RESULTS = Path(__file__).parent / "results"
LENGTH = 10  # events of a user, on average
BLOCK = 1_000_000
#: More processes that each read the whole table need more memory than there may be, and tell nothing new.
MOST_WHOLE = 2
READINGS = ("whole table", "partitions, first time", "partitions")


def write_events(path: Path, events: int, items: int) -> None:
    """Write events of users with tokens of text, in the order of time, a block after the other."""
    random = np.random.default_rng(0)
    schema = pa.schema([("user_id", pa.string()), ("item_id", pa.int64()), ("timestamp", pa.int64())])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for begin in range(0, events, BLOCK):
            count = min(BLOCK, events - begin)
            users = random.integers(0, events // LENGTH, count)
            drawn = (items * random.random(count) ** 2).astype(np.int64)
            names = pa.array(np.char.add("user ", users.astype(str)))
            times = pa.array(np.arange(begin, begin + count))
            writer.write_table(pa.table([names, pa.array(drawn), times], schema=schema))


def divide(source: Path, output: Path, partitions: int) -> dict[str, float]:
    """Run the command; return its seconds and its memory."""
    words = [
        "data",
        "partition",
        f"--interactions={source}",
        f"--output={output}",
        f"--partitions={partitions}",
    ]
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "lightning_croloss", *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"croloss {' '.join(words)} ended with {status}")
    return {
        "seconds": time.perf_counter() - begin,
        "computed_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "mib": sum(file.stat().st_size for file in output.iterdir()) / 2**20,
    }


def measured(reading: str, processes: int, source: Path, divided: Path) -> dict[str, Any]:
    """Return the row of one number of processes."""
    if reading == READINGS[1]:
        shutil.rmtree(divided / PREPARED, ignore_errors=True)
    ranks = run(str(source if reading == READINGS[0] else divided), reading != READINGS[0], processes)
    return {
        "reading": reading,
        "processes": processes,
        "events": [rank["events"] for rank in ranks],
        "rows": sum(rank["rows"] for rank in ranks),
        "imports_mib": max(rank["imports_mib"] for rank in ranks),
        "peak_mib": max(rank["peak_mib"] for rank in ranks),
        "beyond_mib": max(rank["peak_mib"] - rank["imports_mib"] for rank in ranks),
        "held_mib": max(rank["held_mib"] - rank["imports_mib"] for rank in ranks),
        "seconds": max(rank["seconds"] for rank in ranks),
        "computed_seconds": max(rank["computed_seconds"] for rank in ranks),
    }


def written(record: dict[str, Any], facts: dict[str, Any]) -> str:
    """Write what was measured as a text."""
    header = ["reading", "W", "events of a process", "peak beyond imports", "held with a batch"]
    header += ["wall, s", "computed, s"]
    body = [
        [
            row["reading"],
            str(row["processes"]),
            f"{min(row['events']):,} … {max(row['events']):,}",
            f"{row['beyond_mib']:,.0f} MiB",
            f"{row['held_mib']:,.0f} MiB",
            f"{row['seconds']:.0f}",
            f"{row['computed_seconds']:.0f}",
        ]
        for row in record["rows"]
    ]
    division = record["division"]
    text = (
        f"{record['events']:,} events of {record['users']:,} users with tokens of text and "
        f"{record['items']:,} items, leave-one-out. From the file to the first batch of a model that needs "
        "popularity; of all processes the largest. *First time*: one process finds out what all must know "
        "alike, and the others wait. The processes share the cores with other work: *computed* is a "
        f"process's own time. Dividing into {record['partitions']} partitions took "
        f"{division['seconds']:.0f} s ({division['computed_seconds']:.0f} s computed), "
        f"{division['peak_mib']:,.0f} MiB at most, imports included, for {division['mib']:,.0f} MiB of files."
    )
    described = ", ".join(f"{key} {value}" for key, value in facts.items())
    title = "# A table in partitions\n\nWritten by `python -m benchmarks.scale.partitions`.\n\n"
    return f"{title}{text}\n\n{markdown(header, body)}\n\n{described}.\n"


def main() -> None:
    """Read the arguments, run, write."""
    parser = command_parser(__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    facts = machine()
    record: dict[str, Any] = {"events": given.events, "items": given.items, "partitions": given.partitions}
    record |= {"users": given.events // LENGTH, "rows": []}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        source, divided = Path(folder, "events.parquet"), Path(folder, "divided")
        write_events(source, given.events, given.items)
        record["division"] = divide(source, divided, given.partitions)
        print(json.dumps(record["division"]), flush=True)
        for reading in READINGS:
            for processes in given.processes:
                if reading == READINGS[0] and processes > MOST_WHOLE:
                    continue
                record["rows"].append(measured(reading, processes, source, divided))
                print(json.dumps(record["rows"][-1]), flush=True)
    text = written(record, facts)
    given.output.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"machine": facts, **record}, indent=1) + "\n"
    write_atomically(given.output / "partitions.json", content.encode())
    write_atomically(given.output / "partitions.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()

"""A million users recommended by partitions in Ray, killed in the middle and finished.

python -m benchmarks.scale.ray_users --python PATH [--users 1000000] [--items 10000] [--partitions 64]

PATH is the Python of an environment with a recent ``ray[data]`` and ``lightning-croloss-serving[serve]``,
where ``examples/recommend_in_ray.py`` runs: once as a whole; then with its driver killed (SIGKILL) when a
third of the partitions is complete; then again into the same folder, with an actor killed after some more.
Each user must have come exactly once, with the lists of the run that nobody killed. Writes to
benchmarks/scale/results/.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from benchmarks.common.command import command_parser
from benchmarks.common.measuring import machine
from benchmarks.common.process_tree import children_of, memory_mib, processor_seconds
from benchmarks.scale.report import users_written
from benchmarks.serve.protocol import CLUSTERS, models
from lightning_croloss import export_model
from lightning_croloss.common.files import write_atomically

RESULTS = Path(__file__).parent / "results"
SCRIPT = Path(__file__).parents[2] / "examples" / "recommend_in_ray.py"
ACTORS, LENGTH = 2, 20
#: Seconds between two looks at the folder, and how many of these come with one at the processes.
PAUSE, LOOKS = 0.5, 10
#: Ray lets its workers give way to everything else on a machine, which others may be using.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "PYTHONPATH": ""}


def write_users(folder: Path, users: int, items: int, partitions: int) -> None:
    """Write users with 1 to 20 events, each in one cluster of the items."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number, part in enumerate(np.array_split(np.arange(users), partitions)):
        lengths = random.integers(1, LENGTH + 1, len(part))
        cluster = np.repeat(random.integers(0, CLUSTERS, len(part)), lengths)
        drawn = random.integers(0, items // CLUSTERS, len(cluster)) * CLUSTERS + cluster
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        tokens = pa.array([f"item-{place}" for place in drawn])
        histories = pa.ListArray.from_arrays(pa.array(offsets), tokens)
        table = pa.table({"user_id": [f"u{user}" for user in part], "history": histories})
        parquet.write_table(table, folder / f"part-{number:05}.parquet")


def run_script(command: list[str], look: Callable[[int, int], bool], output: Path) -> dict[str, Any]:
    """Run the example, and look at it now and then.

    Args:
        command: what to run.
        look: is given the driver's process id and the number of complete partitions; True kills the driver.
        output: the folder of the lists.

    Returns:
        ``seconds``, ``code``, the ``memory_mib`` of all its processes together at most, the seconds that each
        actor computed, and the last line that was printed.
    """
    begin, most, code, number = time.perf_counter(), 0.0, None, 0
    computed: dict[int, float] = {}
    environment = {**os.environ, **ENVIRONMENT}
    with tempfile.TemporaryFile("w+") as said:
        running = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, text=True, env=environment)
        while code is None:
            time.sleep(PAUSE)
            number += 1
            if number % LOOKS == 0:
                processes = [running.pid, *children_of(running.pid)]
                most = max(most, sum(map(memory_mib, processes)))
                computed |= {actor: processor_seconds(actor) for actor in actors_among(processes)}
            if look(running.pid, len(list(output.glob("[!.]*.parquet")))):
                os.kill(running.pid, signal.SIGKILL)
                running.wait()
            code = running.poll()
        said.seek(0)
        lines = said.read().splitlines()
    printed = [line for line in lines if line.startswith("done: ")]
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError("\n".join(lines[-20:]))
    return {
        "seconds": time.perf_counter() - begin,
        "code": code,
        "memory_mib": most,
        "actor_seconds": [seconds for _, seconds in sorted(computed.items())],
        "said": printed[-1] if printed else None,
    }


def actors_among(processes: list[int]) -> list[int]:
    """Return those of the processes that are actors that recommend."""
    found = []
    for process in processes:
        with contextlib.suppress(OSError):  # it has ended
            if b"RecommendPartitions" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.append(process)
    return found


def check(whole: Path, finished: Path, users: int) -> dict[str, int]:
    """Return counts of what must be 0: users missing or coming twice, files that differ."""
    seen: list[str] = []
    differing = 0
    names = sorted(path.name for path in whole.glob("[!.]*.parquet"))
    assert names == sorted(path.name for path in finished.glob("[!.]*.parquet"))
    for name in names:
        one, other = parquet.read_table(whole / name), parquet.read_table(finished / name)
        differing += not one.equals(other)
        ranks = other.column("rank").to_numpy()
        assert ranks.min() >= 1
        seen += other.column("user").filter(pa.array(ranks == 1)).to_pylist()
    distinct = set(seen)
    return {
        "missing": len({f"u{user}" for user in range(users)} - distinct),
        "twice": len(seen) - len(distinct),
        "differing_files": differing,
    }


def run(python: str, users: int, items: int, partitions: int, n: int, folder: Path) -> dict[str, Any]:
    """Make users and an export, recommend in the three ways, and compare."""
    write_users(folder / "users", users, items, partitions)
    export_model(models(items)["YouTubeDNN"], folder / "served")
    size = sum(file.stat().st_size for file in (folder / "served").iterdir()) / 2**20
    row: dict[str, Any] = {"users": users, "items": items, "partitions": partitions, "n": n, "actors": ACTORS}
    row["export_mib"] = size

    def command(output: str) -> list[str]:
        given = {"--export": "served", "--users": "users", "--lists": output}
        words = [word for name, path in given.items() for word in (name, str(folder / path))]
        return [python, str(SCRIPT), *words, f"--n={n}", f"--actors={ACTORS}"]

    row["whole"] = run_script(command("whole"), lambda driver, complete: False, folder / "whole")
    third = partitions // 3
    row["killed"] = run_script(command("lists"), lambda driver, complete: complete >= third, folder / "lists")
    row["killed"]["complete"] = before = len(list((folder / "lists").glob("[!.]*.parquet")))
    row["killed"]["left_half_written"] = len(list((folder / "lists").glob(".*.parquet")))
    killed: list[int] = []

    def kill_an_actor(driver: int, complete: int) -> bool:
        if not killed and complete > before + 1 and (actors := actors_among(children_of(driver))):
            os.kill(actors[0], signal.SIGKILL)
            killed.append(complete)
        return False

    row["finished"] = run_script(command("lists"), kill_an_actor, folder / "lists")
    row["finished"]["actor_killed_at"] = killed[0] if killed else None
    for part in ("whole", "finished"):
        found = re.search(r"done: (\d+) users in ([\d.]+) s, an actor of (\d+) MiB", row[part].pop("said"))
        assert found is not None
        row[part] |= {
            "recommended": int(found[1]),
            "work_seconds": float(found[2]),
            "actor_mib": int(found[3]),
        }
    row["killed"].pop("said")
    lists = sum(file.stat().st_size for file in (folder / "whole").glob("*.parquet")) / 2**20
    return row | {"lists_mib": lists, **check(folder / "whole", folder / "lists", users)}


def main() -> None:
    """Read the arguments, run, write."""
    parser = command_parser(__doc__)
    parser.add_argument("--python", required=True)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--partitions", type=int, default=64)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    facts = machine()
    code = "from importlib.metadata import version; print(version('ray'))"
    facts["ray"] = subprocess.run([given.python, "-c", code], capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        row = run(given.python, given.users, given.items, given.partitions, given.n, Path(folder))
    text = users_written(row, facts)
    record = json.dumps({"machine": facts, **row}, indent=1) + "\n"
    write_atomically(given.output / "ray_users.json", record.encode())
    write_atomically(given.output / "ray_users.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()

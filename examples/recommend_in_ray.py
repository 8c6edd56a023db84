"""Recommend to users by partitions in Ray Data, without torch; started again after a failure, it goes on.

python recommend_in_ray.py --export served --users users --lists lists --n 100 --actors 8 --address auto

``served`` is what ``croloss export`` wrote; ``users`` a folder of Parquet files with a row for each user, its
``user_id`` and the list ``history``; ``lists`` gets a file of the same name for each, whole or not at all. On
several machines all of them must see the three folders. Needs a recent Ray:
``pip install 'ray[data]' 'lightning-croloss-serving[serve]'``.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from croloss_serving import Recommender
from croloss_serving.partitions import Partition, find_partitions, recommend_partition

#: Only names of files and counts of users travel: Ray would set a third of the memory aside.
OBJECT_STORE_BYTES = 2**28


class RecommendPartitions:
    """An actor, which loads the export once and takes one partition after the other.

    Ray starts an actor anew that was killed, and gives it the partition again: nothing was left of that but
    a file whose name begins with a dot.
    """

    def __init__(self, export: str, n: int) -> None:
        self.recommender = Recommender.from_export(export, threads=1)
        self.n = n

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """Recommend to the users of the partitions of a batch."""
        partitions = map(Partition, map(Path, batch["source"]), map(Path, batch["output"]))
        users = [recommend_partition(self.recommender, each, self.n) for each in partitions]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return {"users": users, "peak_mib": [peak] * len(users)}


def recommended(export: str, users: str, lists: str, n: int, actors: int) -> Iterator[dict[str, int]]:
    """Yield ``users`` and ``peak_mib`` of each partition when it is done; no users if it was before.

    Args:
        export: the folder of the export.
        users: the folder of the tables.
        lists: the folder of the outputs.
        n: number of items for each user.
        actors: how many work side by side, on a processor's core each.
    """
    rows = [
        {"source": str(each.source), "output": str(each.output)} for each in find_partitions(users, lists)
    ]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        RecommendPartitions,
        fn_constructor_args=(export, n),
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
    )
    yield from done.iter_rows()


def main() -> None:
    """Read the arguments, recommend, and say how it goes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--export", "--users", "--lists"):
        parser.add_argument(name, required=True)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--address", help="of a cluster, such as auto; a local one is started without it")
    given = parser.parse_args()
    if given.address is None:
        ray.init(num_cpus=given.actors, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False)
    else:
        ray.init(given.address)
    ray.data.DataContext.get_current().enable_progress_bars = False
    folders = (str(Path(name).expanduser().resolve()) for name in (given.export, given.users, given.lists))
    begin, users, peak = time.perf_counter(), 0, 0
    for number, row in enumerate(recommended(*folders, given.n, given.actors), start=1):
        users, peak = users + row["users"], max(peak, row["peak_mib"])
        print(f"{number} partitions, {users} users", flush=True)
    seconds = time.perf_counter() - begin
    print(f"done: {users} users in {seconds:.1f} s, an actor of {peak} MiB at most")


if __name__ == "__main__":
    main()

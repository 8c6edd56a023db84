"""Seconds and memory that preparing a table takes: read, filter, map ids, split, first batch.

python -m benchmarks.preparation FILE [--min-user-interactions 5] [--k-core] [--repeats 5]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

from lightning_croloss import TableDataModule


def megabytes() -> float:
    """Return the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prepare the table several times and print the median."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file")
    parser.add_argument("--min-user-interactions", type=int, default=5)
    parser.add_argument("--k-core", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    import polars  # noqa: F401  # its import is not part of what is measured

    before = megabytes()
    seconds = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        data = TableDataModule(
            arguments.file,
            min_user_interactions=arguments.min_user_interactions,
            min_item_interactions=arguments.min_user_interactions if arguments.k_core else 1,
            k_core=arguments.k_core,
        )
        next(iter(data.train_dataloader()))
        seconds.append(time.perf_counter() - start)
    print(f"{len(data.interactions):,} interactions, {data.num_users:,} users, {data.num_items:,} items")
    print(f"read, filter, map, split, first batch: median {statistics.median(seconds):.2f} s")
    print(f"peak memory: {megabytes():.0f} MiB, of which {before:.0f} MiB before (Python and libraries)")


if __name__ == "__main__":
    main()

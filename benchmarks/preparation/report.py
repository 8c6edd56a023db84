"""What was measured, as a text."""

from __future__ import annotations

import statistics

from benchmarks.preparation.protocol import Measured


def written(found: Measured) -> str:
    """Write the size of the table, the median time and the memory."""
    return (
        f"{found.interactions:,} interactions, {found.users:,} users, {found.items:,} items\n"
        f"read, filter, map, split, first batch: median {statistics.median(found.seconds):.2f} s\n"
        f"peak memory: {found.peak:.0f} MiB, of which {found.before:.0f} MiB before (Python and libraries)"
    )

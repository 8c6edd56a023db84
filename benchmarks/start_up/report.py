"""What was measured, as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.start_up.protocol import Measured


def written(found: Sequence[Measured]) -> str:
    """Write a Markdown table of the medians."""
    lines = ["| croloss | seconds | of the processor | status |", "|---|---|---|---|"]
    lines += [
        f"| `{one.command}` | {statistics.median(one.wall):.2f} | {statistics.median(one.process):.2f} "
        f"| {one.status} |"
        for one in found
    ]
    return "\n".join(lines)

"""The table of the comparison, from its rows."""

from __future__ import annotations

import numpy as np

from benchmarks.common.rows import Row
from benchmarks.common.tables import failed_runs, mean_and_spread, table
from benchmarks.lazy_adam.protocol import DATA, NS, SEEDS


def report(rows: dict[str, Row], failures: dict[str, Row] | None = None) -> str:
    """Write the table from the rows of finished runs, and list the failed ones, all by identity."""
    lines = []
    for data in DATA:
        for sparse in (False, True):
            found = [
                row
                for row in rows.values()
                if (row["settings"]["data"], row["settings"]["sparse"]) == (data, sparse)
            ]
            cells = [mean_and_spread([row[f"recall@{n}"] for row in found]) for n in NS]
            seconds = f"{np.mean([row['fit_seconds'] for row in found]):.0f} s" if found else ""
            lines.append([data, "LazyAdam, sparse" if sparse else "AdamW, dense", *cells, seconds])
    head = ["data", "optimizer", *(f"Recall@{n}" for n in NS), "CPU seconds of fit"]
    parts = [
        "# Sparse gradients and Recall\n\nWritten by `python -m benchmarks.lazy_adam`; the protocol is in "
        f"protocol.py. Test values in percent, mean ± deviation over {len(SEEDS)} seeds.\n\n"
        f"{table(head, lines)}",
        *failed_runs(failures or {}),
    ]
    return "\n\n".join(parts) + "\n"

"""The table of the comparison, from its rows."""

from __future__ import annotations

import numpy as np

from benchmarks.common.rows import Row
from benchmarks.common.tables import failed_runs, mean_and_spread, table
from benchmarks.finetune.protocol import PARTS, SEEDS, SIDES


def report(rows: dict[str, Row], failures: dict[str, Row] | None = None) -> str:
    """Write the table from the rows of finished runs, and list the failed ones, all by identity."""
    lines = []
    for part in PARTS:
        of_part = [row for row in rows.values() if row["settings"].get("part") == part]
        cells = [f"{part} %"]
        for side in ("as it is", *SIDES):
            values = []
            for seed in SEEDS:
                tried = [
                    row
                    for row in of_part
                    if (row["settings"]["side"], row["settings"]["seed"]) == (side, seed)
                ]
                if tried:
                    values.append(max(tried, key=lambda row: row.get("valid", 0.0))["recall@50"])
            cells.append(mean_and_spread(values))
        known = [row["matched"] / row["items"] for row in of_part if "items" in row]
        lines.append([*cells, f"{100 * np.mean(known):.0f} %" if known else ""])
    head = ["new training users", "pretrained, as it is", "from scratch", "fine-tuned", "items matched"]
    parts = [
        "# Fine-tuning\n\nWritten by `python -m benchmarks.finetune`; the protocol is in protocol.py. Test "
        f"Recall@50 in percent, mean ± deviation over {len(SEEDS)} seeds.\n\n{table(head, lines)}",
        *failed_runs(failures or {}),
    ]
    return "\n\n".join(parts) + "\n"

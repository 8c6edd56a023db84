"""The table of the comparison, from its rows."""

from __future__ import annotations

import numpy as np

from benchmarks.common.rows import Row
from benchmarks.common.tables import mean_and_spread, table
from benchmarks.finetune.protocol import PARTS, SEEDS, SIDES


def report(rows: dict[str, Row]) -> str:
    """Write the table."""
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
    return (
        "# Fine-tuning\n\nWritten by `python -m benchmarks.finetune`; the protocol is in finetune.py. Test "
        f"Recall@50 in percent, mean ± deviation over {len(SEEDS)} seeds.\n\n{table(head, lines)}\n"
    )

"""The table of all swaps, from the rows of each framework."""

from __future__ import annotations

from pathlib import Path

from benchmarks.common.rows import Row, failures_of, identity, rows_of
from benchmarks.common.tables import failed_runs, mean_and_spread, table
from benchmarks.swap.frameworks import SEEDS, chosen, final_runs, framework

HEAD = ["framework", "lines changed", "old loss", "new loss", "Recall@50 old", "Recall@50 new", "τ old, new"]


def report(folder: Path) -> str:
    """Write the table from the rows of every framework in the folder, and list the runs that failed."""
    lines: list[list[str]] = []
    failures: dict[str, Row] = {}
    for path in sorted(folder.glob("*.jsonl")):
        failures |= failures_of(path)
        lines += rows_of_table(path.stem, rows_of(path))
    parts = [
        "# One loss into other people's models\n\nWritten by `python -m benchmarks.swap`; the protocol is in "
        "frameworks.py. MovieLens-100k, leave-one-out, the whole catalogue but what the user has rated; test "
        f"values in percent, mean ± deviation over seeds {SEEDS}; the temperature τ tuned for each loss on "
        "the same grid by validation Recall@50.",
        table(HEAD, lines),
        *failed_runs(failures),
    ]
    return "\n\n".join(parts) + "\n"


def rows_of_table(name: str, rows: dict[str, Row]) -> list[list[str]]:
    """Write a line for each new loss of a framework whose losses were all tried with every seed."""
    module = framework(name)
    old, *new = module.LOSSES
    return [
        [
            module.FRAMEWORK,
            str(module.LOSSES[loss]),
            old,
            loss,
            figure(rows, name, old),
            figure(rows, name, loss),
            f"{chosen(rows, name, old):g}, {chosen(rows, name, loss):g}",
        ]
        for loss in new
        if figure(rows, name, old) and figure(rows, name, loss)
    ]


def figure(rows: dict[str, Row], name: str, loss: str) -> str:
    """Write test Recall@50 of a loss, "" if a seed is missing."""
    wanted = [identity(run) for run in final_runs(rows, name, [loss])]
    if not wanted or any(run not in rows for run in wanted):
        return ""
    return mean_and_spread([rows[run]["test"]["recall@50"] for run in wanted], digits=1)

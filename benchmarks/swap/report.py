"""The table of all swaps, from the rows of each framework."""

from __future__ import annotations

from pathlib import Path

from benchmarks.common.rows import Row, failures_of, identity, rows_of
from benchmarks.common.tables import failed_runs, mean_and_spread, table
from benchmarks.swap.frameworks import SEEDS, chosen, final_runs, framework
from lightning_croloss.common.files import write_atomically

HEAD = ["framework", "lines changed", "old loss", "new loss", "Recall@50 old", "Recall@50 new", "τ old, new"]


def summary(folder: Path) -> str:
    """Return the table alone, from the rows of every framework in the folder."""
    paths = sorted(folder.glob("*.jsonl"))
    return table(HEAD, [line for path in paths for line in rows_of_table(path.stem, rows_of(path))])


def report(folder: Path) -> str:
    """Return the page of the table, which lists the runs that failed, too."""
    failures: dict[str, Row] = {}
    for path in sorted(folder.glob("*.jsonl")):
        failures |= failures_of(path)
    parts = [
        "# One loss into other people's models\n\nWritten by `python -m benchmarks.swap`; the protocol is in "
        "frameworks.py. MovieLens-100k, leave-one-out, the whole catalogue but what the user has rated; test "
        f"values in percent, mean ± deviation over seeds {SEEDS}; the temperature τ tuned for each loss on "
        "the same grid by validation Recall@50.",
        summary(folder),
        *failed_runs(failures),
    ]
    return "\n\n".join(parts) + "\n"


def write_into(page: Path, folder: Path) -> None:
    """Renew the table of a page of the documentation, between the comments that mark it."""
    before, mark, rest = page.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of the table -->")
    if not (mark and end):
        raise ValueError(f"{page} has no place for the table: the comments that mark it are missing")
    write_atomically(page, f"{before}{mark}\n{summary(folder)}\n\n{end}{after}".encode())


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

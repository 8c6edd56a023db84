"""What the commands ``python -m benchmarks.NAME`` share: their options and the file of their table."""

from __future__ import annotations

import argparse
from pathlib import Path

from lightning_croloss.common.files import write_atomically


def command_parser(
    text: str | None, processes: int | None = None, report: bool = True
) -> argparse.ArgumentParser:
    """Return a parser whose help is the text as it stands.

    Args:
        text: the docstring of the command's module.
        processes: for a comparison how many runs stand side by side unless ``--processes`` says otherwise;
            None for a command without runs.
        report: whether such a comparison has ``--report``, to make its tables from the rows alone.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    if processes is not None:
        if report:
            parser.add_argument("--report", action="store_true", help="only write the tables, from the rows")
        parser.add_argument(
            "--processes", type=int, default=processes, help="how many runs side by side, one thread each"
        )
    return parser


def write_table(folder: Path, text: str) -> None:
    """Write the table of a comparison to ``results.md`` of its folder, and print it."""
    write_atomically(folder / "results.md", text.encode())
    print(text)

"""Tables as text: aligned columns for a terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], alignment: str, gap: int = 2) -> str:
    """Lay out cells in columns.

    Args:
        rows: the cells.
        alignment: for each column ``<`` (left) or ``>`` (right).
        gap: number of spaces between columns.

    Raises:
        ValueError: a row does not have one cell for each column.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        (" " * gap)
        .join(f"{cell:{side}{width}}" for cell, side, width in zip(row, alignment, widths, strict=True))
        .rstrip()
        for row in rows
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

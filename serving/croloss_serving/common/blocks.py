"""Blocks of rows whose padded size is bounded, however long one of them is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: The most entries of a padded block, unless a single row has more.
MOST_ENTRIES = 2**20


def blocks(lengths: Iterable[int], most_rows: int = 2**62) -> Iterator[slice]:
    """Yield slices of consecutive rows that together are all rows.

    A block has at most ``most_rows`` rows and, padded to its longest row, at most :data:`MOST_ENTRIES`
    entries; a row that has more by itself is alone.

    Args:
        lengths: the number of entries of each row.
        most_rows: see above.
    """
    start = number = longest = 0
    for number, length in enumerate(lengths, start=1):
        longest = max(longest, length)
        rows = number - start
        if rows > 1 and (rows > most_rows or rows * longest > MOST_ENTRIES):
            yield slice(start, number - 1)
            start, longest = number - 1, length
    if number > start:
        yield slice(start, number)

"""Sets of tokens that are kept padded to the longest. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

#: A set may always have so many tokens, and always so many times the mean.
ALWAYS, TIMES_THE_MEAN = 32, 16


def shortened(sets: Sequence[list[str]]) -> tuple[list[list[str]], int]:
    """Return sets whose padded size follows the sum of theirs, and how many had to be shortened for that.

    One item with thousands of tags would make the table of all items as wide. Of a set that is too large the
    tokens stay that most sets have, of equal ones the first by the alphabet.

    Args:
        sets: for each id its distinct tokens, sorted.
    """
    total = sum(map(len, sets))
    most = max(ALWAYS, TIMES_THE_MEAN * total // max(1, len(sets)))
    if max(map(len, sets), default=0) <= most:
        return list(sets), 0
    counts = Counter(token for tokens in sets for token in tokens)
    kept = [
        tokens if len(tokens) <= most else sorted(sorted(tokens, key=lambda token: -counts[token])[:most])
        for tokens in sets
    ]
    return kept, sum(len(tokens) > most for tokens in sets)

"""Columns of atomic files as the values that RecBole's filters work on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.data.table.conversion import factorize, to_times
from lightning_croloss.data.table.reading import Table

#: The largest integer up to which float64 holds all integers.
_EXACT = 2**53


def tokens(table: Table, column: str) -> NDArray[np.object_]:
    """Return tokens (R,) as text, None where missing.

    Raises:
        DataError: a token holds a NUL character.
    """
    codes, distinct = factorize(table, column)
    # rows with the same token share one text; the code of a missing one is -1
    texts = np.array([*map(str, distinct.tolist()), None], dtype=object)
    return texts[codes]


def token_lists(table: Table, column: str, separator: str, length: int | None) -> list[NDArray[np.object_]]:
    """Return for each row its tokens, the first ``length`` of them, None = all."""
    texts = table.frame[column].fill_null("").to_list()
    rows = [[token for token in text.split(separator) if token][:length] for text in texts]
    return [np.array(row, dtype=object) for row in rows]


def exact_times(table: Table, column: str) -> tuple[NDArray[Any], bool]:
    """Return the times (R,) of a column without missing values, and whether they are dates.

    They are float64, as the files' type says, unless that would move a time: large integers and dates are
    int64, dates as nanoseconds since 1970.

    Raises:
        DataError: a time cannot be read.
    """
    times, dates = to_times(table, column)
    if times.dtype == np.int64 and not dates and times.min() >= -_EXACT and times.max() <= _EXACT:
        times = times.astype(np.float64)
    return times, dates

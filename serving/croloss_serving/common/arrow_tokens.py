"""Tokens as columns of pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from croloss_serving.errors import DataError


def token_array(tokens: Sequence[Any], kind: Any = None) -> Any:
    """Return tokens, all text or all integers of 64 bits, as a ``pyarrow.Array``; None stays null.

    Args:
        tokens: the tokens.
        kind: the type of the column; None is that of :func:`token_type`.

    Raises:
        DataError: the column cannot hold these integers.
    """
    import pyarrow

    wanted = token_type(tokens) if kind is None else kind
    try:
        return pyarrow.array(tokens, wanted)
    except (OverflowError, pyarrow.ArrowInvalid):
        raise DataError(
            f"the integers {min(tokens)} … {max(tokens)} do not fit a column of {wanted}: give them as text"
        ) from None


def token_type(tokens: Sequence[Any]) -> Any:
    """Return the ``pyarrow.DataType`` of tokens: string, int64, or uint64 for integers that need it."""
    import pyarrow

    numbers = [token for token in tokens if token is not None and not isinstance(token, str)]
    if not numbers:
        return pyarrow.string()
    return pyarrow.uint64() if max(numbers) >= 2**63 else pyarrow.int64()

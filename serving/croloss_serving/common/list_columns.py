"""Columns of lists of tokens, as pyarrow has them."""

from __future__ import annotations

from typing import Any

from croloss_serving.errors import DataError


def type_in_lists(kind: Any, where: Any, column: str) -> Any:
    """Return the type of what the lists of a column hold.

    Args:
        kind: the ``pyarrow.DataType`` of the column.
        where: what errors call the file.
        column: the name of the column.

    Raises:
        DataError: it holds no lists.
    """
    if not is_list(kind):
        raise DataError(f"{where}: column {column!r} holds {kind}: it must hold lists of tokens")
    return kind.value_type


def is_list(kind: Any) -> bool:
    """Tell whether a ``pyarrow.DataType`` is one of lists, whatever their widths."""
    from pyarrow import types

    return any(test(kind) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list))


def is_string_view(kind: Any) -> bool:
    """Tell whether a ``pyarrow.DataType`` is that of string views, which pyarrow 15 does not have."""
    from pyarrow import types

    return bool(getattr(types, "is_string_view", lambda _: False)(kind))


def exact_below(kind: Any) -> float:
    """Return from where on the floats of a type no longer tell an integer from the next one; 0 for others.

    Args:
        kind: the ``pyarrow.DataType``.
    """
    from pyarrow import types

    if not types.is_floating(kind):
        return 0.0
    return 2.0**11 if types.is_float16(kind) else 2.0**24 if types.is_float32(kind) else 2.0**53


def whole(value: Any, below: float) -> Any:
    """Return the integer that a float stands for, as pandas stores it; anything else is refused later.

    Args:
        value: what a list holds.
        below: what :func:`exact_below` returned.
    """
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < below else value

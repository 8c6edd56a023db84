"""The column of the users of a table of lists, as pyarrow reads it."""

from __future__ import annotations

from typing import Any

from lightning_croloss.errors import DataError


def type_of_users(kind: Any, where: str, column: str) -> Any:
    """Return the pyarrow type in which users are written again.

    Args:
        kind: the type of the column.
        where: the name of the file.
        column: the name of the column.

    Raises:
        DataError: it holds neither text nor numbers.
    """
    import pyarrow
    from pyarrow import types

    values = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(values) or types.is_large_string(values) or types.is_string_view(values):
        return pyarrow.string()
    if types.is_uint64(values):
        return values
    if types.is_integer(values) or types.is_floating(values):
        return pyarrow.int64()
    raise DataError(f"{where}: column {column!r} holds {kind}: users must be text or integers")


def users_of(values: list[Any], first_row: int, where: str, column: str, below: float) -> list[Any]:
    """Return users as text or integers; a float becomes the integer that it is.

    Args:
        values: the values of the column.
        first_row: the row of the first, from 1.
        where: the name of the file.
        column: the name of the column.
        below: from where on its floats no longer tell an integer from the next one.

    Raises:
        DataError: a row names no user, or holds another number than an integer that a float tells apart.
    """
    users = []
    for row, value in enumerate(values, start=first_row):
        if value is None:
            raise DataError(f"{where}, row {row}: column {column!r} names no user: leave such rows out")
        if isinstance(value, float):
            if not (value.is_integer() and abs(value) < below):
                raise DataError(
                    f"{where}, row {row}: column {column!r} holds {value}: users must be text or integers"
                )
            value = int(value)
        users.append(value)
    return users


__all__ = ["type_of_users", "users_of"]

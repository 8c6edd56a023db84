"""The column of the users of a table of lists, as pyarrow has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from croloss_serving.common.list_columns import exact_below, is_string_view
from croloss_serving.errors import DataError


def check_once(names: Sequence[str], where: Any, *columns: str) -> None:
    """Refuse a table that has one of these columns twice, of which pyarrow would return either.

    Args:
        names: the names of its columns.
        where: the name of the file.
        columns: those that are read.

    Raises:
        DataError: it has.
    """
    for column in columns:
        if names.count(column) > 1:
            raise DataError(f"{where} has {names.count(column)} columns {column!r}: name each differently")


def type_of_users(kind: Any, where: Any, column: str) -> Any:
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
    if types.is_string(values) or types.is_large_string(values) or types.is_integer(values):
        return values
    if is_string_view(values):
        return pyarrow.string()
    if types.is_floating(values):
        return pyarrow.int64()
    raise DataError(f"{where}: column {column!r} holds {kind}: users must be text or integers")


def users_array(column: Any, first_row: int, where: Any, name: str) -> Any:
    """Return the users of a batch in the type of :func:`type_of_users`, as ``pyarrow.Array``.

    Args:
        column: the values of the column, no dictionary.
        first_row: the row of the first, from 1.
        where: the name of the file.
        name: the name of the column.

    Raises:
        DataError: as :func:`users_of`.
    """
    import pyarrow

    kind, below = type_of_users(column.type, where, name), exact_below(column.type)
    if column.null_count or below:
        return pyarrow.array(users_of(column.to_pylist(), first_row, where, name, below), kind)
    return column.cast(kind)


def users_of(values: list[Any], first_row: int, where: Any, column: str, below: float) -> list[Any]:
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


__all__ = ["check_once", "type_of_users", "users_array", "users_of"]

"""HistoryTable: a Parquet file with a row for each user, whose events are a list, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from croloss_serving.common.list_columns import exact_below, type_in_lists, whole
from croloss_serving.common.parquet_batches import check_batch, check_declared, plain_batches
from croloss_serving.common.user_columns import check_once, type_of_users, users_array
from croloss_serving.errors import DataError
from croloss_serving.recommend.tokens import Token, check_tokens


class Users(NamedTuple):
    """Some users of a table.

    Attributes:
        column: what names each, as ``pyarrow.Array`` of texts or integers.
        histories: the tokens of the events of each, oldest first.
        first: the row of the first of them, counted from 1.
    """

    column: Any
    histories: list[list[Token]]
    first: int


class HistoryTable:
    """A Parquet file of histories.

    Args:
        path: the file.
        user_column: the column of the users.
        history_column: the column of the lists of tokens; no list is an empty one.

    Attributes:
        user_type: the ``pyarrow.DataType`` in which the users are written again.

    Raises:
        DataError: the file cannot be read, lacks a column or has it twice, or one holds something else
            than lists, or than users.
    """

    def __init__(self, path: Path, user_column: str, history_column: str) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        self._path, self._user, self._history = path, user_column, history_column
        with self._reading():
            self._file = pyarrow.OSFile(str(path))
        try:
            self._size = self._file.size()
            with self._reading(), parquet.ParquetFile(self._file) as file:
                schema = file.schema_arrow
                check_declared(file, path, self._size, (user_column, history_column))
            for name in (user_column, history_column):
                if name not in schema.names:
                    raise DataError(f"{path} has no column {name!r}")
            check_once(schema.names, path, user_column, history_column)
            self.user_type = type_of_users(schema.field(user_column).type, path, user_column)
            self._check_lists(schema.field(history_column).type)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> HistoryTable:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def batches(self, size: int) -> Iterator[Users]:
        """Yield the users, ``size`` at a time.

        Raises:
            DataError: the file cannot be read, a history holds what is no token, or a row names no user.
        """
        from pyarrow import types

        columns = [self._user, self._history]
        parts = plain_batches(self._file, self._path, columns, size, check_batch(self._path, self._size))
        first = 1
        while True:
            with self._reading():
                part = next(parts, None)
                if part is None:
                    return
                lists = [history or [] for history in part.column(self._history).to_pylist()]
            kind = part.column(self._history).type
            if not types.is_null(kind) and (below := exact_below(kind.value_type)):
                lists = [[whole(token, below) for token in history] for history in lists]
            for row, history in enumerate(lists, first):
                self._check(row, history)
            yield Users(users_array(part.column(self._user), first, self._path, self._user), lists, first)
            first += len(lists)

    def tokens_of(self, users: Users) -> list[Token]:
        """Return the tokens of users.

        Raises:
            DataError: one is text that is not in UTF-8.
        """
        with self._reading():
            return users.column.to_pylist()  # type: ignore[no-any-return]

    def _check(self, row: int, history: Sequence[Any]) -> None:
        try:
            check_tokens("the history", history)
        except TypeError as error:
            raise DataError(f"{self._path}, row {row}: {error}") from None

    def _check_lists(self, kind: Any) -> None:
        from pyarrow import types

        if not types.is_null(kind):
            type_in_lists(kind, self._path, self._history)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say of what fails in reading which file it is."""
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
            said = str(error).partition("\n")[0]
            raise DataError(f"{self._path} cannot be read as Parquet: {said}") from None

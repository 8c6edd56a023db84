"""HistoryTable: a Parquet file with a row for each user, whose events are a list, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from croloss_serving.common.list_columns import exact_below, type_in_lists, whole
from croloss_serving.errors import DataError
from croloss_serving.recommend.tokens import Token, check_tokens


class Users(NamedTuple):
    """Some users of a table.

    Attributes:
        column: what names each, as ``pyarrow.Array``.
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
        user_type: the ``pyarrow.DataType`` of the column of users.

    Raises:
        DataError: the file cannot be read, or lacks a column, or one does not hold lists.
    """

    def __init__(self, path: Path, user_column: str, history_column: str) -> None:
        import pyarrow.parquet as parquet

        self._path, self._user, self._history = path, user_column, history_column
        with self._reading():
            self._file = parquet.ParquetFile(path)
        try:
            with self._reading():
                schema = self._file.schema_arrow
            for name in (user_column, history_column):
                if name not in schema.names:
                    raise DataError(f"{path} has no column {name!r}")
            self.user_type = schema.field(user_column).type
            self._exact_below = self._exact_in_lists(schema.field(history_column).type)
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
            DataError: the file cannot be read, or a history holds what is no token.
        """
        with self._reading():
            parts = self._file.iter_batches(size, columns=[self._user, self._history])
        first = 1
        while True:
            with self._reading():
                part = next(parts, None)
                if part is None:
                    return
                lists = [history or [] for history in part.column(self._history).to_pylist()]
            if self._exact_below:
                lists = [[whole(token, self._exact_below) for token in history] for history in lists]
            for row, history in enumerate(lists, first):
                self._check(row, "the history", history)
            yield Users(part.column(self._user), lists, first)
            first += len(lists)

    def tokens_of(self, users: Users) -> list[Token]:
        """Return the tokens of users.

        Raises:
            DataError: one is neither text nor an integer.
        """
        with self._reading():
            tokens = users.column.to_pylist()
        for row, token in enumerate(tokens, users.first):
            self._check(row, f"the column {self._user!r}", [token])
        return tokens  # type: ignore[no-any-return]

    def _check(self, row: int, what: str, tokens: Sequence[Any]) -> None:
        try:
            check_tokens(what, tokens)
        except TypeError as error:
            raise DataError(f"{self._path}, row {row}: {error}") from None

    def _exact_in_lists(self, kind: Any) -> float:
        """Return where the floats in lists end that pandas writes for integers; 0 if they hold others."""
        from pyarrow import types

        if types.is_null(kind):
            return 0.0
        return exact_below(type_in_lists(kind, self._path, self._history))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say of what fails in reading which file it is."""
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
            said = str(error).partition("\n")[0]
            raise DataError(f"{self._path} cannot be read as Parquet: {said}") from None

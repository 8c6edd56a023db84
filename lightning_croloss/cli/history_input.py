"""Histories to recommend to, batch after batch: from a table, or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_croloss.common.arrow_tokens import token_type
from lightning_croloss.errors import DataError, MissingExtraError, suggest
from lightning_croloss.recommend.tokens import check_tokens

LIST_COLUMN = "history"


@dataclass
class Histories:
    """Some users and the tokens of their events, oldest first.

    Attributes:
        users: what names each user in the input.
        tokens: the history of each.
        user_type: the pyarrow type of a column of all users, of this batch and others; None if not known.
    """

    users: list[Any] = field(default_factory=list)
    tokens: list[Sequence[Any]] = field(default_factory=list)
    user_type: Any = None

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.users)


def read_json_lines(lines: Iterable[str], source: str, size: int) -> Iterator[Histories]:
    """Yield the histories of JSON lines, each a list of tokens or an object with ``history`` and ``user``.

    Args:
        lines: the text, line by line; blank lines are passed over.
        source: its name in errors.
        size: number of users in a batch.

    Raises:
        DataError: a line is not of this form; the message names it.
    """
    batch = Histories()
    kind: type | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        location = f"{source}, line {number}"
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{location} is not JSON: {error.msg}") from None
        user, history = number, entry
        if isinstance(entry, dict):
            if LIST_COLUMN not in entry:
                raise DataError(f"{location} has no {LIST_COLUMN!r}{suggest(LIST_COLUMN, entry)}")
            user, history = entry.get("user", number), entry[LIST_COLUMN]
        kind = kind or type(user)
        if type(user) is not kind or kind not in (str, int):
            raise DataError(f"{location}: the user is {user!r}: users must be all text or all integers")
        batch.users.append(user)
        batch.tokens.append(_checked(history, location))
        if len(batch) == size:
            yield batch
            batch = Histories()
    if len(batch):
        yield batch


def read_lists(path: Path, user_column: str, history_column: str, size: int) -> Iterator[Histories]:
    """Yield the histories of a Parquet file with a row for each user, without reading it whole.

    Args:
        path: the file.
        user_column: the column of the users; if it is missing, users are numbered from 1.
        history_column: the column of the lists of tokens.
        size: number of users in a batch.

    Raises:
        DataError: the column does not hold lists, or a history does not hold tokens.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error
    with parquet.ParquetFile(path) as file:
        names = [name for name in (user_column, history_column) if name in file.schema_arrow.names]
        row = 0
        for part in file.iter_batches(batch_size=size, columns=names):
            lists = part.column(history_column).to_pylist()
            users = part.column(user_column).to_pylist() if user_column in names else None
            batch = Histories()
            if users is not None and str(part.schema.field(user_column).type) == "uint64":
                batch.user_type = part.schema.field(user_column).type
            for number, history in enumerate(lists):
                row += 1
                batch.users.append(row if users is None else users[number])
                batch.tokens.append(_checked(history or [], f"{path.name}, row {row}"))
            yield batch


def read_events(
    given: str, user_column: str, item_column: str, time_column: str | None, size: int
) -> Iterator[Histories]:
    """Yield the histories of a table with a row for each event; its columns are sorted in memory.

    Args:
        given: a file, a folder or a glob: Parquet, CSV, TSV, or RecBole's atomic files.
        user_column: the column of the users.
        item_column: the column of the items.
        time_column: the column that orders the events of a user; None = the order of the rows.
        size: number of users in a batch.

    Raises:
        DataError: a file or a column is missing, or a row lacks a value.
    """
    try:
        import polars as pl
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error
    from lightning_croloss.data.table.conversion import to_times
    from lightning_croloss.data.table.reading import read_table
    from lightning_croloss.data.table.sources import find_files

    columns = {"--user-column": user_column, "--item-column": item_column}
    if time_column is not None:
        columns["--time-column"] = time_column
    table = read_table(find_files("--histories", given, ".inter"), columns)
    for name in dict.fromkeys(columns.values()):
        if table.frame[name].null_count():
            location = table.location(int(table.frame[name].is_null().arg_max() or 0))
            raise DataError(f"{location}: column {name!r} has no value: every event needs one")
    frame = table.frame.select(user=pl.col(user_column), item=pl.col(item_column))
    for name in ("user", "item"):
        if not (frame[name].dtype.is_integer() or frame[name].dtype == pl.String):
            column = {"user": user_column, "item": item_column}[name]
            raise DataError(
                f"{table.name}: column {column!r} holds {frame[name].dtype}: it must be integers or text"
            )
    if time_column is not None:
        times, _ = to_times(table, time_column)
        frame = frame.with_columns(time=pl.Series(times)).sort("time", maintain_order=True)
    # users in the order of their first row
    grouped = frame.group_by("user", maintain_order=True).agg("item")
    user_type = token_type([grouped["user"].max()]) if grouped["user"].dtype == pl.UInt64 else None
    for first in range(0, grouped.height, size):
        part = grouped[first : first + size]
        yield Histories(part["user"].to_list(), part["item"].to_list(), user_type)


def has_lists(given: str, history_column: str) -> bool:
    """Tell whether ``given`` is a Parquet file with a column of lists.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = Path(given)
    if path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        return False
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error
    try:
        schema = parquet.read_schema(path)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path.name} is not a Parquet file, or is damaged: {error}") from None
    if history_column not in schema.names:
        return False
    kind = schema.field(history_column).type
    if not (pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)):
        raise DataError(f"{path.name}: column {history_column!r} holds {kind}: it must hold lists of tokens")
    return True


def _checked(history: Any, location: str) -> Sequence[Any]:
    if not isinstance(history, list):
        raise DataError(f"{location}: a history must be a list of tokens, got {history!r}")
    try:
        check_tokens("the history", history)
    except TypeError as error:
        raise DataError(f"{location}: {error}") from None
    return history

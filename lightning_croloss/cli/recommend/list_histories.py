"""Histories from a Parquet file with a row for each user, whose events are lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from croloss_serving.common.home_folder import expanded
from croloss_serving.common.list_columns import exact_below, type_in_lists, whole
from croloss_serving.common.parquet_batches import check_batch, check_declared, plain_batches
from croloss_serving.common.user_columns import check_once, type_of_users, users_of
from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss.cli.recommend.histories import Histories, Unread, check_events, checked_history
from lightning_croloss.errors import DataError, MissingExtraError


def read_lists(
    path: Path,
    user_column: str,
    history_column: str,
    size: int,
    events: EventInputs | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Iterator[Histories]:
    """Yield the histories of a Parquet file with a row for each user, without reading it whole.

    For a model that reads them, the columns ``times`` and of the names of features of events hold lists too.

    Args:
        path: the file.
        user_column: the column of the users; if it is missing, users are numbered from 1.
        history_column: the column of the lists of tokens.
        size: number of users in a batch.
        events: what the model reads of events besides their items; None = nothing.
        say: is told what other columns there are.

    Raises:
        DataError: the column does not hold lists, a history does not hold tokens, a user is neither text nor
            integer, or a column that the model reads of events is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error
    try:
        inputs = events or EventInputs()
        yield from _read_lists(parquet, path, user_column, history_column, size, inputs, Unread(say))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{path.name} cannot be read: {str(error).partition(chr(10))[0]}") from None


def _read_lists(
    parquet: ModuleType,
    path: Path,
    user_column: str,
    history_column: str,
    size: int,
    events: EventInputs,
    unread: Unread,
) -> Iterator[Histories]:
    with parquet.ParquetFile(path) as file:
        of_times = ["times"] if events.times is not None else []
        of_events = [*of_times, *events.names]
        for name in events.names:
            if name in (user_column, history_column, *of_times):
                raise DataError(
                    f"the model reads a feature {name!r} of events, whose column in {path.name} cannot hold "
                    "it too: give the histories as a table of events, or as JSON lines"
                )
        for name in of_events:
            if name not in file.schema_arrow.names:
                raise DataError(
                    f"{path.name} has no column {name!r}, which the model reads of events: it must hold "
                    f"for each user a list as long as that in {history_column!r}"
                )
        names = [name for name in (user_column, history_column) if name in file.schema_arrow.names]
        names += of_events
        check_once(file.schema_arrow.names, path.name, *names)
        size_of_file = path.stat().st_size
        check_declared(file, path.name, size_of_file, names)
        others = [name for name in file.schema_arrow.names if name not in names]
        unread.note(path.name, others, "events", of_events)
        type_in_lists(file.schema_arrow.field(history_column).type, path.name, history_column)
        user_type = None
        if user_column in names:
            of_users = file.schema_arrow.field(user_column).type
            user_type = _written(type_of_users(of_users, path.name, user_column))
        row = 0
        for part in plain_batches(path, path.name, names, size, check_batch(path.name, size_of_file)):
            lists = part.column(history_column).to_pylist()
            if below := exact_below(part.column(history_column).type.value_type):
                lists = [tokens and [whole(token, below) for token in tokens] for tokens in lists]
            users = None
            if user_column in names:
                named = part.column(user_column)
                exact = exact_below(named.type)
                users = users_of(named.to_pylist(), row + 1, path.name, user_column, exact)
            batch, locations = Histories.reading(events), list[str]()
            columns = {name: part.column(name).to_pylist() for name in of_events}
            batch.user_type, batch.named = user_type, users is not None
            for number, history in enumerate(lists):
                row += 1
                batch.users.append(row if users is None else users[number])
                batch.tokens.append(checked_history(history or [], f"{path.name}, row {row}"))
                for name, values in columns.items():
                    rows = batch.event_features.get(name, batch.times)
                    found = values[number] if isinstance(values[number], list) else []
                    if len(found) != len(history or []):
                        raise DataError(
                            f"{path.name}, row {row}: column {name!r} must hold a list as long as the history"
                        )
                    if rows is not None:
                        rows.append(found)
                locations.append(f"{path.name}, row {row}")
            check_events(batch, events, locations)
            yield batch


def _written(kind: Any) -> Any:
    """Return the type of the users of all tables alike: a job may have text or integers of several widths."""
    import pyarrow
    from pyarrow import types

    if types.is_uint64(kind):
        return kind
    return pyarrow.int64() if types.is_integer(kind) else pyarrow.string()


def has_lists(given: str, history_column: str) -> bool:
    """Tell whether ``given`` is a Parquet file with a column of lists.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = expanded(given)
    if path.suffix.lower() not in (".parquet", ".pq") or not path.is_file():
        return False
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error
    try:
        schema = parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{path.name} is not a Parquet file, or is damaged: {error}") from None
    if history_column not in schema.names:
        return False
    type_in_lists(schema.field(history_column).type, path.name, history_column)
    return True

"""Histories to recommend to, batch after batch: from a table, or JSON lines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from croloss_serving.common.arrow_tokens import token_type
from croloss_serving.recommend.tokens import check_tokens
from lightning_croloss.cli.event_table import read_event_table
from lightning_croloss.cli.recommend_options import LIST_COLUMN
from lightning_croloss.errors import DataError, MissingExtraError, suggest

#: What names of files of JSON lines end in.
JSON_LINES = (".jsonl", ".ndjson", ".json")


@dataclass
class Histories:
    """Some users and the tokens of their events, oldest first.

    Attributes:
        users: what names each user in the input.
        tokens: the history of each.
        named: whether the input names each of the users, who are numbered otherwise.
        user_type: the pyarrow type of a column of all users, of this batch and others; None if not known.
    """

    users: list[Any] = field(default_factory=list)
    tokens: list[Sequence[Any]] = field(default_factory=list)
    user_type: Any = None
    named: bool = True

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
    for number, line in _decoded_lines(lines, source):
        if not line.strip():
            continue
        location = f"{source}, line {number}"
        entry = _parsed(line, location)
        user, history = number, entry
        if isinstance(entry, dict):
            if LIST_COLUMN not in entry:
                raise DataError(f"{location} has no {LIST_COLUMN!r}{suggest(LIST_COLUMN, entry)}")
            user, history = entry.get("user", number), entry[LIST_COLUMN]
        kind = kind or type(user)
        if type(user) is not kind or kind not in (str, int):
            raise DataError(f"{location}: the user is {user!r}: users must be all text or all integers")
        if isinstance(user, int) and not -(2**63) <= user < 2**64:
            raise DataError(f"{location}: the user is {user}, more than 64 bits hold: write it as text")
        batch.named &= isinstance(entry, dict) and "user" in entry
        batch.users.append(user)
        batch.tokens.append(_checked(history, location))
        if len(batch) == size:
            yield batch
            batch = Histories()
    if len(batch):
        yield batch


def is_json_lines(name: str) -> bool:
    """Tell whether a file of this name holds JSON lines."""
    return name.lower().endswith(JSON_LINES)


def read_json_file(name: str, size: int) -> Iterator[Histories]:
    """Yield the histories of a file of JSON lines, see :func:`read_json_lines`.

    Raises:
        DataError: there is no such file, or a line is not of this form.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise DataError(f"--histories: {name} {what}")
    with path.open(encoding="utf-8") as lines:
        yield from read_json_lines(lines, path.name, size)


def _parsed(line: str, location: str) -> Any:
    """Return the value of a line of JSON.

    Raises:
        DataError: it is not JSON, or says something twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entry = dict(pairs)
        if len(entry) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{location} has {twice!r} twice")
        return entry

    try:
        entry = json.loads(line, object_pairs_hook=once)
        if "\\u" in line:  # an escape may be half of a letter
            json.dumps(entry, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise DataError(
            f"{location} is not JSON: {error.msg} at column {error.colno}: each line must hold a whole "
            'list of tokens, or {"user": ..., "history": [...]}'
        ) from None
    except RecursionError:
        raise DataError(f"{location} is not a history: it is nested too deeply") from None
    except UnicodeEncodeError as error:
        raise DataError(f"{location} holds half a letter ({error.object[error.start]!r})") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{location} holds a number of too many digits") from None
    return entry


def _decoded_lines(lines: Iterable[str], source: str) -> Iterator[tuple[int, str]]:
    """Yield the number of each line and its text, without a byte-order mark."""
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            yield number, line.removeprefix("\ufeff")
    except UnicodeError as error:
        where = f"cannot be read after line {number}: it " if number else ""
        raise DataError(f"{source} {where}is not UTF-8 text: convert it") from error


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
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error
    try:
        yield from _read_lists(parquet, path, user_column, history_column, size)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{path.name} cannot be read: {str(error).partition(chr(10))[0]}") from None


def _read_lists(
    parquet: ModuleType, path: Path, user_column: str, history_column: str, size: int
) -> Iterator[Histories]:
    with parquet.ParquetFile(path) as file:
        names = [name for name in (user_column, history_column) if name in file.schema_arrow.names]
        row = 0
        for part in file.iter_batches(batch_size=size, columns=names):
            lists = part.column(history_column).to_pylist()
            if _holds_floats(part.schema.field(history_column).type):
                lists = [None if tokens is None else list(map(_whole, tokens)) for tokens in lists]
            users = part.column(user_column).to_pylist() if user_column in names else None
            batch = Histories()
            if users is not None and str(part.schema.field(user_column).type) == "uint64":
                batch.user_type = part.schema.field(user_column).type
            batch.named = users is not None
            for number, history in enumerate(lists):
                row += 1
                batch.users.append(row if users is None else users[number])
                batch.tokens.append(_checked(history or [], f"{path.name}, row {row}"))
            yield batch


def read_events(
    given: argparse.Namespace,
    trained: Mapping[str, Any] | None,
    size: int,
    say: Callable[[str], None] = lambda note: None,
) -> Iterator[Histories]:
    """Yield the histories of a table with a row for each event; its columns are sorted in memory.

    Args:
        given: the options of the command, None where they were not given; ``histories`` is a file, a folder
            or a glob: Parquet, CSV, TSV, or RecBole's atomic files.
        trained: how the model's training read its events; None if that is not known.
        size: number of users in a batch.
        say: is told how the events are ordered, and what is left out.

    Raises:
        DataError: a file or a column is missing, or a row lacks a value.
    """
    table = read_event_table(given, trained)
    for note in table.notes:
        say(note)
    frame = table.frame
    # users in the order of their first row
    grouped = frame.group_by("user", maintain_order=True).agg("item")
    user_type = token_type([grouped["user"].max()]) if str(grouped["user"].dtype) == "UInt64" else None
    for first in range(0, grouped.height, size):
        part = grouped[first : first + size]
        yield Histories(part["user"].to_list(), part["item"].to_list(), user_type)


def has_lists(given: str, history_column: str) -> bool:
    """Tell whether ``given`` is a Parquet file with a column of lists.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = Path(given).expanduser()
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
    kind = schema.field(history_column).type
    types = pyarrow.types
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        raise DataError(f"{path.name}: column {history_column!r} holds {kind}: it must hold lists of tokens")
    return True


def _holds_floats(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_floating(kind.value_type))


def _whole(value: Any) -> Any:
    """Return the integer that a float stands for, as pandas stores it; anything else is refused later."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _checked(history: Any, location: str) -> Sequence[Any]:
    if not isinstance(history, list):
        raise DataError(f"{location}: a history must be a list of tokens, got {history!r}")
    try:
        check_tokens("the history", history)
    except TypeError as error:
        raise DataError(f"{location}: {error}") from None
    return history

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
from croloss_serving.recommend.event_inputs import EventInputs
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
        times: the times of the events of each; None for a model that does not read them.
        event_features: for each feature of events that the model reads the values of the events of each.
        user_type: the pyarrow type of a column of all users, of this batch and others; None if not known.
    """

    users: list[Any] = field(default_factory=list)
    tokens: list[Sequence[Any]] = field(default_factory=list)
    user_type: Any = None
    named: bool = True
    times: list[Sequence[Any]] | None = None
    event_features: dict[str, list[Sequence[Any]]] = field(default_factory=dict)

    @property
    def of_events(self) -> dict[str, Any]:
        """The arguments ``times`` and ``event_features`` of the recommender, those that the model reads."""
        features = {"event_features": self.event_features} if self.event_features else {}
        return features if self.times is None else {"times": self.times, **features}

    @classmethod
    def reading(cls, events: EventInputs) -> Histories:
        """Return a batch without users, to be filled for a model that reads this of events."""
        times: list[Sequence[Any]] | None = [] if events.times is not None else None
        return cls(times=times, event_features={name: [] for name in events.names})

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.users)


def read_json_lines(
    lines: Iterable[str], source: str, size: int, events: EventInputs | None = None
) -> Iterator[Histories]:
    """Yield the histories of JSON lines, each a list of tokens or an object with ``history`` and ``user``.

    For a model that reads them, the object has ``times``, a list as long, and ``event_features``, an object
    with such a list for each feature.

    Args:
        lines: the text, line by line; blank lines are passed over.
        source: its name in errors.
        size: number of users in a batch.
        events: what the model reads of events besides their items; None = nothing.

    Raises:
        DataError: a line is not of this form; the message names it.
    """
    inputs = events or EventInputs()
    batch, locations = Histories.reading(inputs), list[str]()
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
        _append_events(batch, entry, inputs, len(history), location)
        locations.append(location)
        if len(batch) == size:
            _check_events(batch, inputs, locations)
            yield batch
            batch, locations = Histories.reading(inputs), []
    if len(batch):
        _check_events(batch, inputs, locations)
        yield batch


def _check_events(batch: Histories, inputs: EventInputs, locations: Sequence[str]) -> None:
    """Refuse times or features of events that are not what they were in training.

    Raises:
        DataError: naming where the first such history stands.
    """

    def check(rows: slice) -> None:
        times = None if batch.times is None else batch.times[rows]
        features = {name: values[rows] for name, values in batch.event_features.items()}
        inputs.encode([len(tokens) for tokens in batch.tokens[rows]], times, features, "the model")

    try:
        check(slice(None))
    except ValueError:
        for number, location in enumerate(locations):
            try:
                check(slice(number, number + 1))
            except ValueError as error:
                raise DataError(f"{location}: {error}") from None


def _append_events(batch: Histories, entry: Any, inputs: EventInputs, length: int, location: str) -> None:
    """Append what a line of JSON says of the events of its history.

    Raises:
        DataError: something that the model reads is missing, or not as long as the history.
    """
    given = entry if isinstance(entry, dict) else {}
    wanted: dict[str, Any] = {}
    if batch.times is not None:
        wanted["times"] = (given.get("times"), batch.times)
    features = given.get("event_features", {})
    for name in inputs.names:
        value = features.get(name) if isinstance(features, dict) else features
        wanted[f"event_features[{name!r}]"] = (value, batch.event_features[name])
    for name, (values, rows) in wanted.items():
        if values is None and not length:
            values = []
        if not isinstance(values, list) or len(values) != length:
            example = ', "times": [...]' * (batch.times is not None)
            if inputs.names:
                example += f', "event_features": {{"{inputs.names[0]}": [...]}}'
            found = "has no" if values is None else "must have as many values as the history in"
            raise DataError(
                f"{location} {found} {name}, which the model reads of events: write "
                f'{{"history": [...]{example}}}'
            )
        rows.append(values)


def is_json_lines(name: str) -> bool:
    """Tell whether a file of this name holds JSON lines."""
    return name.lower().endswith(JSON_LINES)


def read_json_file(name: str, size: int, events: EventInputs | None = None) -> Iterator[Histories]:
    """Yield the histories of a file of JSON lines, see :func:`read_json_lines`.

    Raises:
        DataError: there is no such file, or a line is not of this form.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise DataError(f"--histories: {name} {what}")
    with path.open(encoding="utf-8") as lines:
        yield from read_json_lines(lines, path.name, size, events)


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


def read_lists(
    path: Path, user_column: str, history_column: str, size: int, events: EventInputs | None = None
) -> Iterator[Histories]:
    """Yield the histories of a Parquet file with a row for each user, without reading it whole.

    For a model that reads them, the columns ``times`` and of the names of features of events hold lists too.

    Args:
        path: the file.
        user_column: the column of the users; if it is missing, users are numbered from 1.
        history_column: the column of the lists of tokens.
        size: number of users in a batch.
        events: what the model reads of events besides their items; None = nothing.

    Raises:
        DataError: the column does not hold lists, a history does not hold tokens, or a column that the model
            reads of events is missing.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("reading a table", "tables") from error
    try:
        yield from _read_lists(parquet, path, user_column, history_column, size, events or EventInputs())
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{path.name} cannot be read: {str(error).partition(chr(10))[0]}") from None


def _read_lists(
    parquet: ModuleType, path: Path, user_column: str, history_column: str, size: int, events: EventInputs
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
        row = 0
        for part in file.iter_batches(batch_size=size, columns=names):
            lists = part.column(history_column).to_pylist()
            if _holds_floats(part.schema.field(history_column).type):
                lists = [None if tokens is None else list(map(_whole, tokens)) for tokens in lists]
            users = part.column(user_column).to_pylist() if user_column in names else None
            batch, locations = Histories.reading(events), list[str]()
            columns = {name: part.column(name).to_pylist() for name in of_events}
            if users is not None and str(part.schema.field(user_column).type) == "uint64":
                batch.user_type = part.schema.field(user_column).type
            batch.named = users is not None
            for number, history in enumerate(lists):
                row += 1
                batch.users.append(row if users is None else users[number])
                batch.tokens.append(_checked(history or [], f"{path.name}, row {row}"))
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
            _check_events(batch, events, locations)
            yield batch


def read_events(
    given: argparse.Namespace,
    trained: Mapping[str, Any] | None,
    size: int,
    say: Callable[[str], None] = lambda note: None,
    events: EventInputs | None = None,
) -> Iterator[Histories]:
    """Yield the histories of a table with a row for each event; its columns are sorted in memory.

    Args:
        given: the options of the command, None where they were not given; ``histories`` is a file, a folder
            or a glob: Parquet, CSV, TSV, or RecBole's atomic files.
        trained: how the model's training read its events; None if that is not known.
        size: number of users in a batch.
        say: is told how the events are ordered, and what is left out.
        events: what the model reads of events besides their items; None = nothing.

    Raises:
        DataError: a file or a column is missing, or a row lacks a value.
    """
    inputs = events or EventInputs()
    table = read_event_table(given, trained, inputs)
    for note in table.notes:
        say(note)
    frame = table.frame
    # users in the order of their first row
    columns = [name for name in frame.columns if name != "user"]
    grouped = frame.group_by("user", maintain_order=True).agg(*columns)
    user_type = token_type([grouped["user"].max()]) if str(grouped["user"].dtype) == "UInt64" else None
    for first in range(0, grouped.height, size):
        part = grouped[first : first + size]
        yield Histories(
            part["user"].to_list(),
            part["item"].to_list(),
            user_type,
            times=None if inputs.times is None else part["time"].to_list(),
            event_features={
                name: part[f"feature {number}"].to_list() for number, name in enumerate(inputs.names)
            },
        )


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

"""Histories from JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from croloss_serving.common.home_folder import expanded
from croloss_serving.recommend.event_inputs import EventInputs
from lightning_croloss.cli.recommend.histories import Histories, Unread, check_events, checked_history
from lightning_croloss.cli.recommend.options import LIST_COLUMN
from lightning_croloss.errors import DataError, suggest

#: What names of files of JSON lines end in.
JSON_LINES = (".jsonl", ".ndjson", ".json")
#: What an object of a line holds.
_ENTRIES = (LIST_COLUMN, "user", "times", "event_features")


def read_json_lines(
    lines: Iterable[str],
    source: str,
    size: int,
    events: EventInputs | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Iterator[Histories]:
    """Yield the histories of JSON lines, each a list of tokens or an object with ``history`` and ``user``.

    For a model that reads them, the object has ``times``, a list as long, and ``event_features``, an object
    with such a list for each feature.

    Args:
        lines: the text, line by line; blank lines are passed over.
        source: its name in errors.
        size: number of users in a batch.
        events: what the model reads of events besides their items; None = nothing.
        say: is told what the model does not read, once of each.

    Raises:
        DataError: a line is not of this form; the message names it.
    """
    inputs, unread = events or EventInputs(), Unread(say)
    batch, locations = Histories.reading(inputs), list[str]()
    kind: type | None = None
    named: bool | None = None
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
            _note_unread(unread, entry, inputs, location)
        has_user = isinstance(entry, dict) and "user" in entry
        if has_user is not (named := has_user if named is None else named):
            without = (
                "names no user, but earlier lines do" if named else "names a user, but no line before does"
            )
            raise DataError(f"{location} {without}: name the user in every line, or in none")
        kind = kind or type(user)
        if type(user) is not kind or kind not in (str, int):
            raise DataError(f"{location}: the user is {user!r}: users must be all text or all integers")
        if isinstance(user, int) and not -(2**63) <= user < 2**64:
            raise DataError(f"{location}: the user is {user}, more than 64 bits hold: write it as text")
        batch.named = named
        batch.users.append(user)
        batch.tokens.append(checked_history(history, location))
        _append_events(batch, entry, inputs, len(history), location)
        locations.append(location)
        if len(batch) == size:
            check_events(batch, inputs, locations)
            yield batch
            batch, locations = Histories.reading(inputs), []
    if len(batch):
        check_events(batch, inputs, locations)
        yield batch


def _note_unread(unread: Unread, entry: dict[str, Any], inputs: EventInputs, location: str) -> None:
    """Note what a line says though the model does not read it."""
    features = entry.get("event_features")
    names = list(features) if isinstance(features, dict) else []
    unread.note(location, [name for name in names if name not in inputs.names], "events", inputs.names)
    if inputs.times is None and "times" in entry:
        unread.note(location, ["times"], "events", ())
    if "user_features" in entry:
        unread.note(location, ["user_features"], "users in JSON lines (--users names a table of them)", ())
    others = [name for name in entry if name not in (*_ENTRIES, "user_features")]
    unread.note(location, others, "a line", _ENTRIES)


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


def read_json_file(
    name: str,
    size: int,
    events: EventInputs | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Iterator[Histories]:
    """Yield the histories of a file of JSON lines, see :func:`read_json_lines`.

    Raises:
        DataError: there is no such file, or a line is not of this form.
    """
    path = expanded(name)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise DataError(f"--histories: {name} {what}")
    with path.open(encoding="utf-8") as lines:
        yield from read_json_lines(lines, path.name, size, events, say)


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

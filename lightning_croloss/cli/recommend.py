"""``croloss recommend``: recommendations for any table of histories, in a stream."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from croloss_serving.common.arrow_tokens import token_array, token_type
from croloss_serving.common.terminal import printable, printable_json
from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.results import Recommendations
from lightning_croloss.cli.event_table import read_tokens
from lightning_croloss.cli.history_input import (
    Histories,
    has_lists,
    is_json_lines,
    read_events,
    read_json_file,
    read_json_lines,
    read_lists,
)
from lightning_croloss.cli.recommend_options import LIST_COLUMN, USER_COLUMN
from lightning_croloss.cli.trust import trusted_by_user
from lightning_croloss.cli.unused_options import refuse_unused
from lightning_croloss.cli.user_table import Users
from lightning_croloss.common.files import output_file, replacing
from lightning_croloss.common.row_file import LINES, RowFile, is_writable
from lightning_croloss.errors import MissingExtraError

if TYPE_CHECKING:
    from lightning_croloss.models import RetrievalModel

SIZE = 1024  # users in a batch
Write = Callable[[Histories, Recommendations], None]


def recommend(given: argparse.Namespace) -> None:
    """Run ``croloss recommend`` with its options as ``recommend_parser`` reads them."""
    if given.output is None:
        _recommend(given)
        return
    given.output = given.output.expanduser()
    with output_file(given.output, given.overwrite, "--output"):
        _recommend(given)


def _recommend(given: argparse.Namespace) -> None:
    if given.output is not None and not is_writable(given.output):
        raise ValueError(f"--output {given.output} must end in .parquet or .jsonl, or in .csv or .tsv")
    from lightning_croloss.pretrained import load_pretrained
    from lightning_croloss.pretrained.hub import PREFIX
    from lightning_croloss.pretrained.registry import find_pretrained
    from lightning_croloss.recommend.token_recommender import TokenRecommender

    if not given.model.startswith(PREFIX) and not Path(given.model).exists():
        find_pretrained(given.model)  # a slip in the name is told before one in the other options
    kind = _kind(given)
    refuse_unused(given, kind)

    model = load_pretrained(given.model, allow=trusted_by_user(given.allow_classes))
    trained = model.metadata.reading
    only, never = (
        None if file is None else read_tokens(f"--{name}", file, given, trained)
        for name, file in (("allow", given.allow), ("deny", given.deny))
    )
    recommender = TokenRecommender(model, given.n, given.exclude_history, only, never)
    known = Users(model, given, trained)
    for note in known.notes:
        print(f"croloss: {printable(note)}", file=sys.stderr)
    batches = _histories(given, kind, trained, model.metadata.events)
    users = unknown = unknown_users = fallback = 0
    with _writer(given.output, given.overwrite, model) as write, _progress() as advance:
        for batch in batches:
            with warnings.catch_warnings():  # the last line says how many users are unknown
                warnings.filterwarnings("ignore", ".*no users are given")
                found = recommender(batch.tokens, **known.of(batch), **batch.of_events)
            write(batch, found)
            advance(len(batch))
            users += len(batch)
            unknown += found.num_unknown
            unknown_users += found.num_unknown_users
            fallback += found.num_fallback
    of_users = f", {unknown_users:,} of them unknown to the model, which knows users" * model.knows_users
    print(
        f"croloss: {users:,} users{of_users}; {unknown:,} tokens that the model does not know; {fallback:,} "
        "users without any known token got the most popular items",
        file=sys.stderr,
    )


def _kind(given: argparse.Namespace) -> str:
    """Return what the histories are: "lines" of JSON, "lists" or "events"."""
    if given.histories == "-" or is_json_lines(given.histories):
        return "lines"
    return "lists" if has_lists(given.histories, given.history_column or LIST_COLUMN) else "events"


def _histories(
    given: argparse.Namespace, kind: str, trained: Mapping[str, Any] | None, events: EventInputs
) -> Iterator[Histories]:
    def say(note: str) -> None:
        print(f"croloss: {printable(note)}", file=sys.stderr)

    if given.histories == "-":
        return read_json_lines(sys.stdin, "the standard input", SIZE, events, say)
    if kind == "lines":
        return read_json_file(given.histories, SIZE, events, say)
    if kind == "lists":
        column = given.history_column or LIST_COLUMN
        users = given.user_column or USER_COLUMN
        return read_lists(Path(given.histories).expanduser(), users, column, SIZE, events, say)
    return read_events(given, trained, SIZE, say, events)


@contextmanager
def _writer(output: Path | None, overwrite: bool, model: RetrievalModel) -> Iterator[Write]:
    """Give a function that writes a batch; the file is complete when the block ends, or unchanged."""
    if output is None:
        yield lambda batch, found: _write_lines(sys.stdout, batch, found)
        return
    with replacing(output, new=not overwrite) as temporary:
        if output.suffix.lower() == LINES:
            with temporary.open("w", encoding="utf-8") as file:
                yield lambda batch, found: _write_lines(file, batch, found)
        else:
            writer = ParquetRows(temporary, model)
            try:
                yield writer.write
            finally:
                writer.close()


def _write_lines(file: TextIO, batch: Histories, found: Recommendations) -> None:
    for name, user in zip(batch.users, found, strict=True):
        line: dict[str, Any] = {"user": name, "items": user.tokens, "scores": user.scores}
        if user.titles is not None:
            line["titles"] = user.titles
        line |= {"unknown": user.unknown, "fallback": user.fallback}
        if user.unknown_user:
            line["unknown_user"] = True
        file.write(printable_json(json.dumps(line, ensure_ascii=False)) + "\n")


class ParquetRows:
    """Writes a row for each user and item, batch after batch.

    Args:
        path: the file, Parquet or text as its extension says.
        model: the model, which says what its tokens are and whether it has titles.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, path: Path, model: RetrievalModel) -> None:
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtraError("writing recommendations", "tables") from error
        self._path = path
        vocabulary = model.metadata.item_vocabulary
        assert vocabulary is not None
        columns = {"rank": pa.int32(), "item": token_type(vocabulary.tokens), "score": pa.float32()}
        if model.metadata.item_titles is not None:
            columns["title"] = pa.string()
        self._columns = columns
        self._file: RowFile | None = None

    def write(self, batch: Histories, found: Recommendations) -> None:
        """Append the rows of a batch."""
        import pyarrow as pa

        lengths = [len(user.tokens) for user in found]
        values = {
            "rank": [rank for length in lengths for rank in range(1, length + 1)],
            "item": [token for user in found for token in user.tokens],
            "score": [score for user in found for score in user.scores],
            "title": [title for user in found for title in user.titles or ()],
        }
        kind = batch.user_type if self._file is None else self._file.schema.field("user").type
        users = token_array(batch.users, kind)
        rows = [row for row, length in enumerate(lengths) for _ in range(length)]
        columns = {name: pa.array(values[name], kind) for name, kind in self._columns.items()}
        self._append(pa.table({"user": users.take(pa.array(rows, pa.int64())), **columns}))

    def close(self) -> None:
        """Finish the file."""
        import pyarrow as pa

        if self._file is None:  # no users at all
            empty = {name: pa.array([], kind) for name, kind in self._columns.items()}
            self._append(pa.table({"user": pa.array([], pa.string()), **empty}))
        assert self._file is not None
        self._file.close()

    def _append(self, table: Any) -> None:
        if self._file is None:
            self._file = RowFile(self._path, table.schema)
        self._file.write_table(table)


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Give a function that counts users, shown on the standard error if that is a terminal."""
    with tqdm(unit=" users", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        yield lambda count: bar.update(count) and None

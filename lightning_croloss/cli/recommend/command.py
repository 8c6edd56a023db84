"""``croloss recommend``: recommendations for any table of histories, in a stream."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from croloss_serving.common.arrow_tokens import token_array, token_type
from croloss_serving.common.home_folder import expanded
from croloss_serving.common.terminal import printable, printable_json
from croloss_serving.partitions import Partition
from croloss_serving.recommend.event_inputs import EventInputs
from croloss_serving.recommend.results import Recommendations
from lightning_croloss.cli.quiet import is_first_process
from lightning_croloss.cli.recommend.chosen_items import chosen_items
from lightning_croloss.cli.recommend.history_input import (
    Histories,
    has_lists,
    is_json_lines,
    read_events,
    read_json_file,
    read_json_lines,
    read_lists,
)
from lightning_croloss.cli.recommend.options import LIST_COLUMN, USER_COLUMN
from lightning_croloss.cli.recommend.own_inputs import refuse_inputs_of_lists
from lightning_croloss.cli.recommend.partitions import (
    asked_partitions,
    digest_of_weights,
    naming_users,
    of_partition,
    settings_of_job,
)
from lightning_croloss.cli.recommend.processes import Leading, asked_processes, follow, joined
from lightning_croloss.cli.recommend.unused_options import refuse_unused
from lightning_croloss.cli.recommend.user_table import Users
from lightning_croloss.cli.trust import trusted_by_user
from lightning_croloss.common.files import output_file, replacing
from lightning_croloss.common.row_file import LINES, RowFile, is_writable
from lightning_croloss.errors import MissingExtraError

if TYPE_CHECKING:
    from lightning_croloss.models import RetrievalModel
    from lightning_croloss.recommend.token_recommender import TokenRecommender

SIZE = 1024  # users in a batch
Write = Callable[[Histories, Recommendations], None]


def recommend(given: argparse.Namespace) -> None:
    """Run ``croloss recommend`` with its options as ``recommend_parser`` reads them."""
    if given.output is not None:
        given.output = expanded(given.output)
    if given.history is not None and given.histories is not None:
        raise ValueError("--history is one history in place of --histories: give one of the two")
    given.histories = "-" if given.histories is None else given.histories
    processes = asked_processes(given)
    if processes > 1 and not is_first_process():
        _follow(given, processes)
        return
    partitions = asked_partitions(given)
    if partitions is not None:
        refuse_inputs_of_lists(given, (partition.output for partition in partitions))
    if given.output is None or partitions is not None:
        _recommend(given, partitions)
        return
    refuse_inputs_of_lists(given, [given.output])
    with output_file(given.output, given.overwrite, "--output"):
        _recommend(given, None)


def _recommend(given: argparse.Namespace, partitions: list[Partition] | None) -> None:
    if partitions is None and given.output is not None and not is_writable(given.output):
        raise ValueError(
            f"--output {given.output} must end in .parquet or .jsonl, or in .csv or .tsv; or be a folder, "
            "where --histories is one"
        )
    from lightning_croloss.pretrained import load_pretrained
    from lightning_croloss.pretrained.hub import PREFIX
    from lightning_croloss.pretrained.loading import load_in_shards
    from lightning_croloss.pretrained.registry import find_pretrained

    if not given.model.startswith(PREFIX) and not os.path.exists(expanded(given.model)):
        find_pretrained(given.model)  # a slip in the name is told before one in the other options
    first = given if not partitions else of_partition(given, partitions[0])
    refuse_unused(first, _kind(first))

    allow = trusted_by_user(given.allow_classes)
    if (processes := asked_processes(given)) == 1:
        _run(given, partitions, load_pretrained(given.model, allow=allow))
        return
    with joined(processes):
        _run(given, partitions, load_in_shards(given.model, allow=allow))


def _follow(given: argparse.Namespace, processes: int) -> None:
    """Be one of the other processes."""
    from lightning_croloss.pretrained.loading import load_in_shards

    with joined(processes):
        model = load_in_shards(given.model, allow=trusted_by_user(given.allow_classes))
        follow(_recommender(given, model, *chosen_items(given, model)), model)


def _run(given: argparse.Namespace, partitions: list[Partition] | None, model: RetrievalModel) -> None:
    """Recommend to all histories, or to one partition after the other."""
    job = _Job(given, model)
    if partitions is None:
        with _progress() as advance, _writer(given.output, given.overwrite, model) as write:
            job.run(given, write, advance)
        job.end()
        print(f"croloss: {job.summary()}", file=sys.stderr)
        return
    settings = settings_of_job(given, model, job.weights(), job.only, job.never)
    if not given.overwrite:
        for partition in partitions:
            partition.is_complete(settings)  # what is of other settings is told before any work
    complete = 0
    with _progress() as advance:
        for partition in partitions:
            if not given.overwrite and partition.is_complete(settings):
                complete += 1
                continue
            metadata = partition.metadata(settings)
            with (
                output_file(partition.output, given.overwrite),
                _writer(partition.output, given.overwrite, model, metadata) as write,
            ):
                job.run(of_partition(given, partition), naming_users(write, partition), advance)
    job.end()
    written = f"{len(partitions) - complete:,} partitions written, {complete:,} were complete"
    print(f"croloss: {written}; {job.summary()}", file=sys.stderr)


def _recommender(given: argparse.Namespace, model: RetrievalModel, only: Any, never: Any) -> TokenRecommender:
    """Return what recommends; every process makes it alike."""
    from lightning_croloss.recommend.token_recommender import TokenRecommender

    return TokenRecommender(model, given.n, given.exclude_history, only, never)


class _Job:
    """Recommends to tables of histories, one or several.

    Args:
        given: the options.
        model: the model.

    Attributes:
        only: the tokens of the only items to recommend, None for all.
        never: the tokens of items never to recommend, None for none.
    """

    def __init__(self, given: argparse.Namespace, model: RetrievalModel) -> None:
        self._model = model
        self._trained = model.metadata.reading
        self._said: set[str] = set()
        self.only, self.never = chosen_items(given, model, self._say)
        recommender = _recommender(given, model, self.only, self.never)
        self._leading = None if model.item_shards is None else Leading(recommender, model)
        self._recommender = self._leading or recommender
        self._known = Users(model, given, self._trained)
        self._counts = dict.fromkeys(("users", "unknown", "unknown users", "fallback"), 0)
        for note in self._known.notes:
            self._say(note)

    def run(self, given: argparse.Namespace, write: Write, advance: Callable[[int], None]) -> None:
        """Recommend to the histories of ``given``.

        Args:
            given: the options.
            write: is given each batch.
            advance: is told the number of its users.
        """
        counts = self._counts
        for batch in _histories(given, _kind(given), self._trained, self._model.metadata.events, self._say):
            with warnings.catch_warnings():  # the last line says how many users are unknown
                warnings.filterwarnings("ignore", ".*no users are given")
                found = self._recommender(batch.tokens, **self._known.of(batch), **batch.of_events)
            write(batch, found)
            advance(len(batch))
            counts["users"] += len(batch)
            counts["unknown"] += found.num_unknown
            counts["unknown users"] += found.num_unknown_users
            counts["fallback"] += found.num_fallback

    def weights(self) -> str:
        """Return a checksum of the model's weights, wherever they lie."""
        return digest_of_weights(self._model) if self._leading is None else self._leading.weights()

    def end(self) -> None:
        """Let other processes end, if there are any."""
        if self._leading is not None:
            self._leading.end()

    def summary(self) -> str:
        """Return how many users and tokens there were."""
        users, unknown, unknown_users, fallback = self._counts.values()
        of_users = f", {unknown_users:,} of them unknown to the model, which knows users"
        return (
            f"{users:,} users{of_users * self._model.knows_users}; {unknown:,} tokens that the model does "
            f"not know; {fallback:,} users without any known token got the most popular items"
        )

    def _say(self, note: str) -> None:
        """Say something once, however many tables there are."""
        if note not in self._said:
            self._said.add(note)
            print(f"croloss: {printable(note)}", file=sys.stderr)


def _kind(given: argparse.Namespace) -> str:
    """Return what the histories are: "lines" of JSON, "lists" or "events"."""
    if given.histories == "-" or is_json_lines(given.histories):
        return "lines"
    return "lists" if has_lists(given.histories, given.history_column or LIST_COLUMN) else "events"


def _histories(
    given: argparse.Namespace,
    kind: str,
    trained: Mapping[str, Any] | None,
    events: EventInputs,
    say: Callable[[str], None],
) -> Iterator[Histories]:
    if given.history is not None:
        return read_json_lines([json.dumps(given.history)], "--history", SIZE, events, say)
    if given.histories == "-":
        return read_json_lines(sys.stdin, "the standard input", SIZE, events, say)
    if kind == "lines":
        return read_json_file(given.histories, SIZE, events, say)
    if kind == "lists":
        column = given.history_column or LIST_COLUMN
        users = given.user_column or USER_COLUMN
        return read_lists(expanded(given.histories), users, column, SIZE, events, say)
    return read_events(given, trained, SIZE, say, events)


@contextmanager
def _writer(
    output: Path | None, overwrite: bool, model: RetrievalModel, metadata: Mapping[bytes, bytes] | None = None
) -> Iterator[Write]:
    """Give a function that writes a batch; the file is complete when the block ends, or unchanged."""
    if output is None:
        yield lambda batch, found: _write_lines(sys.stdout, batch, found)
        return
    with replacing(output, new=not overwrite) as temporary:
        if output.suffix.lower() == LINES:
            with temporary.open("w", encoding="utf-8") as file:
                yield lambda batch, found: _write_lines(file, batch, found)
        else:
            writer = ParquetRows(temporary, model, metadata)
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
        metadata: what a Parquet file says of itself.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self, path: Path, model: RetrievalModel, metadata: Mapping[bytes, bytes] | None = None
    ) -> None:
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtraError("writing recommendations", "tables") from error
        self._path = path
        self._metadata = metadata
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
            self._file = RowFile(self._path, table.schema.with_metadata(self._metadata))
        self._file.write_table(table)


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Give a function that counts users, shown on the standard error if that is a terminal."""
    with tqdm(unit=" users", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        yield lambda count: bar.update(count) and None

"""PartitionReader: the events of one partition after another, as those of the whole table are read."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from lightning_croloss.data.partitions.columns import EVENTS, ITEM, PARTITION, USER
from lightning_croloss.data.partitions.hashing import partitions_of
from lightning_croloss.data.partitions.manifest import MANIFEST, Manifest, PartFile, check_content
from lightning_croloss.data.table.conversion import token_series
from lightning_croloss.data.table.filters import Events
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.data.table.preparation import read_events
from lightning_croloss.data.table.reading import Table
from lightning_croloss.data.table.recording import Recording
from lightning_croloss.data.table.sources import FAILURES, first_line, open_file
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.errors import DataError, suggest


@dataclass(frozen=True)
class PartitionEvents:
    """The events of a partition after all filters but those that count the events of a user or an item.

    Attributes:
        events: the events, in order; items as places in the vocabulary of the folder, users among ``users``.
        users: the users of the partition, sorted, also those without events.
        numbers: (len(users),) the place of each among the users of the folder.
        dates: whether the times are dates.
    """

    events: Events
    users: pl.Series
    numbers: NDArray[np.int64]
    dates: bool

    def left(self, items: NDArray[np.bool_], users: NDArray[np.bool_]) -> PartitionEvents:
        """Return the partition with those of its events whose items and users are marked.

        Args:
            items: (N,) bool, of the items of the folder.
            users: (U,) bool, of its users.
        """
        events = self.events
        chosen = items[events.items] & users[self.numbers][events.users]
        return replace(self, events=events.take(chosen))


class PartitionReader:
    """Reads a folder of partitions, of which nothing is taken for granted.

    Args:
        folder: what ``croloss data partition`` has written.
        spec: the columns, and what is done with the events.

    Attributes:
        manifest: what the folder says of itself.

    Raises:
        DataError: the folder is none of partitions, is damaged, or was divided by other columns.
    """

    def __init__(self, folder: Path, spec: TableSpec) -> None:
        self.folder, self.spec = folder, spec
        self.manifest = Manifest.read(folder)
        self._checked: set[str] = set()
        for option in ("user_column", "item_column"):
            theirs, ours = getattr(self.manifest, option), getattr(spec, option)
            if theirs != ours:
                raise DataError(
                    f"{option} names {ours!r}, but {folder} was divided by {theirs!r}: name that, or divide "
                    "the table again"
                )
        columns, time = self.manifest.columns, spec.time_column
        if time is not None and time not in columns:
            raise DataError(
                f"time_column names {time!r}, which is not a column of {folder}{suggest(time, columns)}; "
                "give null if it has no times, and its rows are in their order"
            )
        if time is not None and columns[time] == "String":
            raise DataError(
                f"time_column names {time!r}, which {folder} holds as text: divide the table again by "
                f"'croloss data partition --time-column {shlex.quote(time)}', which reads the times"
            )

    @property
    def name(self) -> str:
        """What errors call the folder."""
        return str(self.folder)

    @cached_property
    def items(self) -> pl.Series:
        """The tokens of all items, sorted."""
        frame = self._columns(self.manifest.items, {ITEM: None, EVENTS: pl.Int64})
        if frame[EVENTS].min() < 1 or frame[EVENTS].sum() != self.manifest.events:  # type: ignore[operator]
            raise self._wrong(self.manifest.items, "the events of its items are not those of the partitions")
        return self._sorted(frame[ITEM], self.manifest.items)

    def user_partitions(self) -> NDArray[np.int32]:
        """Return the partition of each user, in the order of their tokens."""
        frame = self._columns(self.manifest.users, {PARTITION: pl.Int32})
        numbers: NDArray[np.int32] = frame[PARTITION].to_numpy()
        wanted = [part.users for part in self.manifest.partitions]
        # a count of larger numbers would take much memory
        known = numbers.min() >= 0 and numbers.max() < len(wanted)
        if not known or np.bincount(numbers, minlength=len(wanted)).tolist() != wanted:
            raise self._wrong(self.manifest.users, "the users of each partition are others")
        return numbers

    def user_tokens(self, kept: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the tokens of the users that ``kept`` (U,) marks, in their order."""
        path, found, begin = self._path(self.manifest.users), [], 0
        try:
            with parquet.ParquetFile(path) as file:  # in pieces: all texts would be there twice
                for batch in file.iter_batches(1 << 20, columns=[USER]):
                    part = pl.from_arrow(batch)[USER]  # type: ignore[index]
                    found.append(part.filter(kept[begin : begin + len(part)]))
                    begin += len(part)
        except (*FAILURES, pa.ArrowException) as error:
            raise self._wrong(self.manifest.users, first_line(error)) from error
        return pl.concat(found).to_numpy()

    def read(
        self, number: int, recording: Recording, place_of_users: NDArray[np.int32]
    ) -> PartitionEvents | None:
        """Return the events of a partition; None if it has none.

        Args:
            number: its number.
            recording: is told of each step.
            place_of_users: what :meth:`user_partitions` returned.

        Raises:
            DataError: the file is not what the manifest says, or cannot be used.
        """
        part = self.manifest.partitions[number]
        if not part.rows:
            return None
        file = open_file(self._path(part), ReadingOptions(decimal=self.spec.decimal))
        if dict(file.columns) != dict(self.manifest.columns):
            raise self._wrong(part, "its columns or their types are others")
        file = replace(file, declared=self.manifest.declared)
        users: list[pl.Series] = []

        def known(table: Table, column: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
            series = token_series(table, column)
            if column == self.spec.item_column:
                return self._places(self.items, series, part), self.items.to_numpy()
            return self._places(users[0], series, part), users[0].to_numpy()

        users.append(self._users_of(part, number))
        read = read_events(self.spec, [file], recording, known=known)
        numbers = np.flatnonzero(place_of_users == number)
        return PartitionEvents(read.events, users[0], numbers, read.dates)

    def _users_of(self, part: PartFile, number: int) -> pl.Series:
        """Return the sorted users of a partition, each of which belongs there."""
        column = self.manifest.user_column
        frame = self._columns(part, {column: None})
        users = frame[column].unique().sort()
        if frame.height != part.rows or len(users) != part.users or users.null_count():
            raise self._wrong(part, "its events or users are others")
        if users.dtype.is_integer():
            users = users.cast(pl.UInt64 if users.dtype == pl.UInt64 else pl.Int64)
        if (partitions_of(users, len(self.manifest.partitions)) != number).any():
            raise self._wrong(part, "it has users of other partitions")
        return users

    def _places(self, tokens: pl.Series, series: pl.Series, part: PartFile) -> NDArray[np.int64]:
        """Return the places of tokens (n,) among sorted ones."""
        distinct = series.unique().sort()
        fitting = distinct.cast(tokens.dtype, strict=False)
        places = tokens.search_sorted(fitting).clip(upper_bound=max(len(tokens) - 1, 0))
        if not (tokens.gather(places) == fitting).fill_null(False).all():
            raise self._wrong(part, "it holds users or items that the folder does not know")
        order = pl.Series(places).cast(pl.Int64)
        found: NDArray[np.int64] = series.replace_strict(distinct, order, return_dtype=pl.Int64).to_numpy()
        return found

    def _columns(self, part: PartFile, wanted: dict[str, Any]) -> pl.DataFrame:
        """Read columns, of these types if not None."""
        try:
            frame = pl.scan_parquet(self._path(part), hive_partitioning=False, glob=False)
            found = frame.select(list(wanted)).collect()
        except FAILURES as error:
            raise self._wrong(part, first_line(error)) from error
        if found.height != part.rows:
            raise self._wrong(part, "it has another number of rows")
        for name, kind in wanted.items():
            series = found[name]
            if series.null_count() or (kind is not None and series.dtype != kind):
                raise self._wrong(part, f"its column {name!r} is another")
        return found

    def _sorted(self, tokens: pl.Series, part: PartFile) -> pl.Series:
        if not (tokens.dtype == pl.String or tokens.dtype in (pl.Int64, pl.UInt64)):
            raise self._wrong(part, "its tokens are neither integers nor text")
        if len(tokens) > 1 and not (tokens[1:] > tokens[:-1]).all():
            raise self._wrong(part, "its tokens are not sorted")
        return tokens

    def _path(self, part: PartFile) -> Path:
        if part.file not in self._checked:
            check_content(self.folder, part)
            self._checked.add(part.file)
        return self.folder / part.file

    def _wrong(self, part: PartFile, why: str) -> DataError:
        return DataError(
            f"{self.folder}: {part.file} is not what {MANIFEST} says ({why}): divide the table again by "
            "'croloss data partition'"
        )

"""``croloss data partition``: a table becomes a folder of partitions, in bounded memory."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import polars as pl
import pyarrow as pa

from croloss_serving.common.hashing import sha256_of_file
from croloss_serving.common.switches import check_switches
from lightning_croloss.common.files import replacing_folder
from lightning_croloss.data.partitions.column_types import WrittenTypes, cast_exactly, common_types
from lightning_croloss.data.partitions.columns import EVENTS, ITEM, USER
from lightning_croloss.data.partitions.hashing import partitions_of
from lightning_croloss.data.partitions.manifest import ITEMS, MOST, USERS, Manifest, PartFile, part_name
from lightning_croloss.data.partitions.output_place import check_place
from lightning_croloss.data.partitions.runs import ROWS, Runs
from lightning_croloss.data.partitions.sorted_users import write_sorted
from lightning_croloss.data.partitions.source import chosen_columns, chunks_of
from lightning_croloss.data.table.conversion import has_zone, refuse_nul, to_times, token_series
from lightning_croloss.data.table.event_features import numbers_or_missing
from lightning_croloss.data.table.joining import WIDE, without_excess
from lightning_croloss.data.table.options import ReadingOptions
from lightning_croloss.data.table.reading import Table, describe, with_missing
from lightning_croloss.data.table.sources import TableFile, find_files
from lightning_croloss.errors import DataError

#: Rows that are read at a time.
CHUNK = 1 << 18


@dataclass(frozen=True)
class Division:
    """What is divided, and how.

    Attributes:
        interactions: a file, a folder, a glob, or a list of these.
        partitions: number of partitions.
        user_column: column of the users.
        item_column: column of the items.
        time_column: column of the times; "" = none, None = "timestamp" if there is one.
        columns: other columns to keep; None = all.
        missing_values: texts that mean "missing", besides the empty one.
        drop_missing: leave out rows without a user, an item or a time, instead of refusing them.
        reading: how text files are read.

    Raises:
        ValueError: there are too few or too many partitions, or one column is named twice.
    """

    interactions: str | Sequence[str]
    partitions: int = 64
    user_column: str = "user_id"
    item_column: str = "item_id"
    time_column: str | None = None
    columns: Sequence[str] | None = None
    missing_values: Sequence[str] = ()
    drop_missing: bool = False
    reading: ReadingOptions = field(default_factory=ReadingOptions)

    def __post_init__(self) -> None:
        if not 1 <= self.partitions <= MOST:
            raise ValueError(f"partitions must be 1 … {MOST:,}, got {self.partitions}")
        named = {"user_column": self.user_column, "item_column": self.item_column}
        for one, other in combinations(named | {"time_column": self.time_column}, 2):
            if getattr(self, one) == getattr(self, other):
                raise ValueError(f"{one} and {other} are both {named[one]!r}: name two columns")


def divide(
    division: Division,
    output: Path,
    overwrite: bool = False,
    begin: Callable[[str], None] = lambda what: None,
) -> Manifest:
    """Write a folder of partitions, which is there whole or not at all.

    Args:
        division: what is divided, and how.
        output: the folder.
        overwrite: whether an earlier one is replaced.
        begin: is told what is being done.

    Raises:
        DataError: the table cannot be used.
        ValueError: the output lies in what is read, or in other partitions.
        FileExistsError: there is something at ``output``, or another job is writing it.
        NotEnoughSpaceError: the disk is full.
    """
    check_switches(overwrite=overwrite, drop_missing=division.drop_missing)
    files = find_files("interactions", division.interactions, ".inter", division.reading)
    check_place(output, division.interactions, [file.path for file in files])
    with replacing_folder(output, overwrite) as folder:
        return _Divider(division, files, folder, begin).run()


class _Divider:
    def __init__(
        self, division: Division, files: list[TableFile], folder: Path, begin: Callable[[str], None]
    ) -> None:
        self.division, self.files, self.folder, self.begin = division, files, folder, begin
        self.scratch = folder / "_scratch"
        self.tokens = [division.user_column, division.item_column]
        self.time = division.time_column
        if self.time is None and "timestamp" in files[0].columns:
            self.time = "timestamp"
        self.needed = {"user_column": self.tokens[0], "item_column": self.tokens[1]}
        if self.time:
            self.needed["time_column"] = self.time
        self.columns = chosen_columns(files, self.needed, division.columns)
        of_text = [name for name in self.columns if name != self.time] if files[0].is_text else []
        said = {name: files[0].said_of(name) for name in of_text}
        self.written = WrittenTypes(said, self.tokens, division.reading.decimal)
        self.declared = {name: kind for name, kind in said.items() if kind != "text"}
        self.numbers = [name for name, kind in said.items() if kind == "float" and name not in self.tokens]
        self.left_out: Counter[str] = Counter()

    def run(self) -> Manifest:
        """Divide, and return what is said of the folder."""
        self.scratch.mkdir()
        runs = Runs(self.scratch, self.division.partitions, ROWS)
        for file in self.files:
            self.begin(f"reading {file.path.name}")
            for table, left_out in chunks_of(file, self.columns, CHUNK):
                self.left_out.update({name: count for name, count in vars(left_out).items() if count})
                self._take(table, runs)
        runs.flush()
        if not runs.schemas:
            raise DataError(f"{describe(self.files)} has no rows: it is empty")
        types = self._types(runs)
        parts, users, items = [], [], _ItemCounts(self.division.item_column)
        for number in range(self.division.partitions):
            self.begin(f"writing {part_name(number)}")
            frames = [cast_exactly(self.written.converted(frame), types) for frame in runs.partition(number)]
            frame = pl.concat(frames) if frames else pl.DataFrame(schema=types)
            frame = frame.sort(self.division.user_column, maintain_order=True)
            frame.write_parquet(self.folder / part_name(number), compression="zstd")
            items.add(frame)
            users.append(self._users_of(frame, number))
            parts.append(self._described(part_name(number), frame.height, users[-1][1]))
        self.begin("numbering users and items")
        counts = items.sorted()
        counts.write_parquet(self.folder / ITEMS, compression="zstd")
        count = write_sorted([path for path, _ in users], self.folder / USERS)
        shutil.rmtree(self.scratch)
        manifest = Manifest(
            partitions=tuple(parts),
            items=self._described(ITEMS, counts.height),
            users=self._described(USERS, count),
            user_column=self.division.user_column,
            item_column=self.division.item_column,
            columns={name: str(kind) for name, kind in types.items()},
            declared=self.declared,
            sources=tuple(file.path.name for file in self.files),
            left_out=dict(self.left_out),
        )
        manifest.write(self.folder)
        return manifest

    def _take(self, table: Table, runs: Runs) -> None:
        """Put the rows of a chunk into the runs."""
        table.frame = with_missing(table.frame, self.division.missing_values)
        self._leave_out(table)
        if not table.frame.height:
            return
        made = []
        for column in self.tokens:
            series = token_series(table, column)
            if series.dtype == pl.String:
                refuse_nul(table, column, series.unique())
            made.append(series.alias(column))
        if self.time:
            made.append(self._times(table, self.time))
        self._check_numbers(table)
        frame = table.frame.with_columns(made)
        self.written.look(frame)
        runs.add(frame, partitions_of(frame[self.division.user_column], self.division.partitions))

    def _times(self, table: Table, column: str) -> pl.Series:
        """Return the times of a chunk, text as what it stands for.

        What cannot order events is refused here, of its file: beside those of others it may have their type.
        """
        times, dates = to_times(table, column)
        given = table.frame[column]
        if given.dtype != pl.String:
            return given
        series = pl.Series(column, times)
        if dates:  # of other rows, too, either all say a zone or none does
            zone = "UTC" if has_zone(given[0]) else None
            series = series.cast(pl.Datetime("ns")).dt.replace_time_zone(zone)
        return series

    def _check_numbers(self, table: Table) -> None:
        """Refuse other values in columns of numbers by the header, which partitions would have as texts."""
        for name in self.numbers:
            try:
                numbers_or_missing(table, name)
            except DataError as error:
                raise DataError(
                    f"{error}: say by --missing-values what stands for none, or leave the column out by "
                    "--columns"
                ) from None

    def _leave_out(self, table: Table) -> None:
        """Leave out rows that lack what they need if that is wanted; else refuse them."""
        needed = list(self.needed.values())
        missing = table.frame.select(pl.any_horizontal(pl.col(needed).is_null())).to_series()
        if self.division.drop_missing:
            self._count("missing", missing)
            table.keep(~missing)
        elif missing.any():
            row = int(missing.arg_max() or 0)
            column = table.first_missing(row, needed)
            raise DataError(
                f"{table.location(row)}: column {column!r} has no value: fill it, or leave such rows out by "
                "--drop-missing"
            )

    def _count(self, reason: str, mask: pl.Series) -> None:
        if number := int(mask.sum() or 0):
            self.left_out[reason] += number

    def _types(self, runs: Runs) -> dict[str, pl.DataType]:
        converted = [
            tuple(self.written.converted(pl.DataFrame(schema=dict(schema))).schema.items())
            for schema in runs.schemas
        ]
        types = common_types(converted, self.tokens)
        return {name: self._of_64_bits(name, kind, runs) for name, kind in types.items()}

    def _of_64_bits(self, name: str, kind: pl.DataType, runs: Runs) -> pl.DataType:
        """Return the type itself, or one of 64 bits for integers with and without sign that it holds."""
        if kind not in WIDE:
            return kind
        frames = (frame for number in range(self.division.partitions) for frame in runs.partition(number))
        found = without_excess((self.written.converted(frame)[name] for frame in frames), kind)
        if found in WIDE:
            raise DataError(
                f"column {name!r} holds integers below 0 and others beyond 2^63, which partitions cannot: "
                "store it as integers of 64 bits or as text, or leave it out by --columns"
            )
        return found

    def _users_of(self, frame: pl.DataFrame, number: int) -> tuple[Path, int]:
        users = frame[self.division.user_column].unique(maintain_order=True).alias(USER)
        path = self.scratch / f"users-{number:05}.arrow"
        table = users.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest())
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        return path, len(users)

    def _described(self, name: str, rows: int, users: int = 0) -> PartFile:
        path = self.folder / name
        return PartFile(name, path.stat().st_size, sha256_of_file(path), rows, users)


class _ItemCounts:
    """The number of events of each item, added up partition by partition."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._parts: list[pl.DataFrame] = []
        self._rows = self._distinct = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Count the items of more events."""
        counted = frame.group_by(pl.col(self._column).alias(ITEM)).agg(pl.len().cast(pl.Int64).alias(EVENTS))
        self._parts.append(counted)
        self._rows += counted.height
        if self._rows > 4 * self._distinct + 1_000_000:
            self._merge()

    def sorted(self) -> pl.DataFrame:
        """Return the items, sorted, with their numbers of events."""
        self._merge()
        return self._parts[0].sort(ITEM)

    def _merge(self) -> None:
        merged = pl.concat(self._parts).group_by(ITEM).agg(pl.col(EVENTS).sum())
        self._parts = [merged]
        self._rows = self._distinct = merged.height

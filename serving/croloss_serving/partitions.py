"""Partitions: a folder of tables of histories in, a folder of Parquet files out, one for each table.

Torch-free. An output is written under another name and renamed when it is whole, and says in its metadata
with which settings it was written: so a job that was killed is started again as it was, and goes on.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from croloss_serving.common.arrow_tokens import token_array, token_type
from croloss_serving.errors import DataError

if TYPE_CHECKING:
    from croloss_serving.recommender import Recommender

#: Where the metadata of an output holds its settings.
METADATA_KEY = b"croloss"
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Partition:
    """A table of histories, and the file of its users' items.

    Attributes:
        source: the table.
        output: the Parquet file.
    """

    source: Path
    output: Path

    def settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of all partitions with the size of this table, which should be the same too."""
        return {**settings, "bytes of the table": self.source.stat().st_size}

    def metadata(self, settings: Mapping[str, Any]) -> dict[bytes, bytes]:
        """Return the metadata of the output's schema that says with which settings it was written."""
        return {METADATA_KEY: json.dumps(self.settings(settings), sort_keys=True).encode()}

    def is_complete(self, settings: Mapping[str, Any]) -> bool:
        """Tell whether the output is there, written with these settings.

        Raises:
            DataError: it was written with others, or is something else.
        """
        if not self.output.exists():
            return False
        before = _settings_of(self.output)
        if before is None:
            raise DataError(
                f"{self.output} is not an output of recommending by partitions: choose another folder, or "
                "remove it"
            )
        now = json.loads(json.dumps(self.settings(settings)))
        for name in [*now, *before]:
            if before.get(name) != now.get(name):
                raise DataError(
                    f"{self.output} was written with {name} = {before.get(name)!r}, which is now "
                    f"{now.get(name)!r}: choose another folder, or remove it "
                    "(croloss recommend replaces it with --overwrite)"
                )
        return True


def find_partitions(
    histories: str | Path,
    output: str | Path,
    shard: tuple[int, int] = (1, 1),
    extensions: Sequence[str] = PARQUET,
) -> list[Partition]:
    """Return the partitions of a folder in the order of their names, those of one shard alone.

    Files whose name begins with "." or "_" are none, nor is what lies in such folders.

    Args:
        histories: a folder of tables, searched to its depths.
        output: the folder of the outputs, each of the name of its table and in the same sub-folder.
        shard: (i, of): the i-th, (i + of)-th, … partition, i being 1 … of.
        extensions: what names of tables end in.

    Raises:
        DataError: ``histories`` is not a folder or holds no table, or the output lies in it.
        ValueError: there is no such shard.
    """
    index, of = shard
    if not 1 <= index <= of:
        raise ValueError(f"the shard {index}/{of} must be i/of with i in 1 … of, such as 1/4")
    folder, target = Path(histories).expanduser(), Path(output).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of tables")
    if target.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"the output {target} lies in {folder}, whose tables are read: choose a folder beside it"
        )
    found = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if any(part.startswith((".", "_")) for part in inner.parts):
            continue
        if path.is_file() and path.name.lower().endswith(tuple(extensions)):
            name = inner.name if path.suffix.lower() in PARQUET else f"{inner.name}.parquet"
            found.append(Partition(path, target / inner.with_name(name)))
    if not found:
        raise DataError(f"{folder} holds no table: names must end in {', '.join(extensions)}")
    return found[index - 1 :: of]


def recommend_partition(
    recommender: Recommender,
    partition: Partition,
    n: int = 100,
    *,
    settings: Mapping[str, Any] | None = None,
    user_column: str = "user_id",
    history_column: str = "history",
    batch_size: int = 1024,
    **options: Any,
) -> int:
    """Recommend to the users of one partition, in bounded memory, unless its output is complete.

    The table is a Parquet file with a row for each user and a list of tokens in it; for models that know
    users their tokens are those of the column of users. The output has a row for each user and item:
    ``user``, ``rank``, ``item`` and ``score``, and ``title`` if the export knows titles.

    Args:
        recommender: the exported model.
        partition: the table, and where the items go.
        n: number of items for each user.
        settings: what else must be the same in all runs, beside the export and the options.
        user_column: the column of the users.
        history_column: the column of the lists.
        batch_size: users that are read and written together.
        **options: what else ``recommender.recommend`` takes for all users, such as ``exclude_history``; it
            must be the same in all runs too.

    Returns:
        The number of users; 0 if the output was complete.

    Raises:
        DataError: there is an output of other settings, or the table lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    wanted = {"n": n, "export": recommender.checksum, "columns": [user_column, history_column]}
    wanted |= {name: _plain(value) for name, value in options.items()} | dict(settings or {})
    if partition.is_complete(wanted):
        return 0
    columns: dict[str, Any] = {"rank": pa.int32(), "item": token_type(recommender.vocabulary.tokens)}
    columns["score"] = pa.float32()
    if recommender.titles is not None:
        columns["title"] = pa.string()
    partition.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = partition.output.with_name(f".{partition.output.stem}.{secrets.token_hex(8)}.parquet")
    count = 0
    try:
        with parquet.ParquetFile(partition.source) as file:
            for name in (user_column, history_column):
                if name not in file.schema_arrow.names:
                    raise DataError(f"{partition.source.name} has no column {name!r}")
            kind = file.schema_arrow.field(user_column).type
            schema = pa.schema([("user", kind), *columns.items()], partition.metadata(wanted))
            with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for part in file.iter_batches(batch_size, columns=[user_column, history_column]):
                    users, histories = (part.column(name) for name in (user_column, history_column))
                    lists = [history or [] for history in histories.to_pylist()]
                    known = {"users": users.to_pylist()} if recommender.model["num_users"] else {}
                    found = recommender.recommend(lists, n, **known, **options)
                    writer.write_table(_rows(users, found, columns, schema))
                    count += len(lists)
        os.replace(temporary, partition.output)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _rows(users: Any, found: Any, columns: Mapping[str, Any], schema: Any) -> Any:
    import pyarrow as pa

    lengths = [len(user.tokens) for user in found]
    rows = pa.array([row for row, length in enumerate(lengths) for _ in range(length)], pa.int64())
    values = [
        pa.array([rank for length in lengths for rank in range(1, length + 1)], columns["rank"]),
        token_array([token for user in found for token in user.tokens], columns["item"]),
        pa.array([score for user in found for score in user.scores], columns["score"]),
    ]
    if "title" in columns:
        values.append(pa.array([title for user in found for title in user.titles or ()], columns["title"]))
    return pa.table([users.take(rows), *values], schema=schema)


def _settings_of(path: Path) -> dict[str, Any] | None:
    """Return the settings with which an output was written; None if it is none."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        metadata = parquet.read_schema(path).metadata or {}
        settings = json.loads(metadata[METADATA_KEY])
    except (pyarrow.ArrowException, OSError, KeyError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; a set, which has no order, sorted."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return value

"""recommend_partition: the items of the users of one partition, in bounded memory, whole or absent."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from croloss_serving.common.arrow_tokens import token_array, token_type
from croloss_serving.errors import DataError
from croloss_serving.partitions.partition import Partition

if TYPE_CHECKING:
    from croloss_serving.recommender import Recommender


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
                    known = {"users": users.to_pylist()} if recommender.takes_users else {}
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


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; a set, which has no order, sorted."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return value

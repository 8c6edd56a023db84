"""recommend_partition: the items of the users of one partition, in bounded memory, whole or absent."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any

from croloss_serving.common.arrow_tokens import token_array, token_type
from croloss_serving.partitions.partition import OF_TABLE, Partition
from croloss_serving.partitions.settings import plain_setting
from croloss_serving.partitions.table import HistoryTable
from croloss_serving.recommend.tokens import check_tokens

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
        settings: what else must be the same in all runs, beside the export and the options: texts, numbers,
            and lists and sets of them, under other names than those of the options.
        user_column: the column of the users.
        history_column: the column of the lists.
        batch_size: users that are read and written together.
        **options: what else ``recommender.recommend`` takes for all users, such as ``exclude_history``; it
            must be the same in all runs too.

    Returns:
        The number of users; 0 if the output was complete.

    Raises:
        DataError: there is an output of other settings, or the table cannot be read, lacks a column or holds
            what are no tokens.
        TypeError: ``allow``, ``deny`` or a setting is not plain.
        ValueError: a setting has the name of something that is compared anyway.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for name in ("allow", "deny"):
        if options.get(name) is not None:
            check_tokens(name, options[name])
    wanted = {"n": n, "export": recommender.checksum, "columns": [user_column, history_column]}
    wanted |= options
    _check_names(settings or {}, {*wanted, *signature(recommender.recommend).parameters})
    wanted |= dict(settings or {})
    wanted = {name: plain_setting(name, value) for name, value in wanted.items()}
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
        with HistoryTable(partition.source, user_column, history_column) as table:
            schema = pa.schema([("user", table.user_type), *columns.items()], partition.metadata(wanted))
            with parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for users in table.batches(batch_size):
                    known: dict[str, Any] = (
                        {"users": table.tokens_of(users)} if recommender.takes_users else {}
                    )
                    found = recommender.recommend(users.histories, n, **known, **options)
                    writer.write_table(_rows(users.column, found, columns, schema))
                    count += len(users.histories)
        os.replace(temporary, partition.output)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _check_names(settings: Mapping[str, Any], taken: Collection[str]) -> None:
    """Refuse settings that would take the place of what is compared anyway, or lose theirs to it."""
    for name in settings:
        if not isinstance(name, str):
            raise TypeError(f"settings has the name {name!r}: names of settings are text")
        if name in taken or name in OF_TABLE:
            raise ValueError(f"settings names {name!r}, which is compared anyway: give it another name")


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

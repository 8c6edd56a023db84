"""Which columns of the tables of items and users can be features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lightning_croloss.data import Feature, TableDataModule
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.errors import DataError

#: Features at most; tokens at most, as a share of the rows: more of them are names rather than features.
MOST, NAMES = 12, 0.5


def feature_columns(
    data: TableDataModule, given: Mapping[str, Any], say: Callable[[str], None] = lambda line: None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of the items' and of the users' table that can be features.

    Args:
        data: the data, with its tables.
        given: arguments of ``TableDataModule`` that the user has set; features among them stay.
        say: is told which columns are tried as features, and which are not and why.

    Raises:
        DataError: a table cannot be used, or a column that the user names is missing or cannot be one.
    """
    return _columns(data, "items", given, say), _columns(data, "users", given, say)


def without_tables(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of ``TableDataModule`` without features and the tables that only these need."""
    kept = {
        name: value for name, value in arguments.items() if name not in ("item_features", "user_features")
    }
    kept.pop("users", None)
    if kept.get("title_column") is None:
        kept.pop("items", None)
    return kept


def _columns(
    data: TableDataModule, table: str, given: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[str, ...]:
    from lightning_croloss.data.table.feature_tables import check_table, load_features
    from lightning_croloss.data.table.sources import find_files

    name = table.removesuffix("s")
    argument, wanted = f"{name}_features", given.get(f"{name}_features")
    path = given.get(table)
    if path is None:
        if wanted:
            raise ValueError(f"--{argument} needs --{table}, the file that holds them")
        return ()
    vocabulary = data.item_vocabulary if table == "items" else data.user_vocabulary
    file = find_files(table, path, f".{name}", data.spec.reading)[0]
    identity = data.spec.id_columns[table]
    if identity not in file.columns:
        raise DataError(
            f"{file.path.name} has no column {identity!r}, which names the {table}: give --{table}_id_column"
        )

    def spec(*columns: str) -> TableSpec:
        return replace(data.spec, **{table: path, argument: columns})

    def load(*columns: str) -> list[Feature]:
        return load_features(spec(*columns), {table: vocabulary})[0][table]

    if wanted:
        load(*wanted)
        return tuple(wanted)
    check_table(spec(identity), table, vocabulary)  # what is wrong with all of it is no fault of a column
    found: list[str] = []
    others = (column for column in file.columns if column not in (identity, data.spec.title_column))
    for column in others:
        why = _why_not(partial(load, column), len(vocabulary))
        if not why and len(found) < MOST:
            found.append(column)
        else:
            say(f"  {column}: no feature of the {table}: {why or f'there are {MOST} before it'}")
    say(f"features of the {table} that are tried: {', '.join(found) or 'none'}")
    return tuple(found)


def _why_not(load: Callable[[], list[Feature]], number: int) -> str:
    """Return why a column cannot be a feature, "" if it can.

    Args:
        load: reads it.
        number: the number of items or users.
    """
    try:
        (feature,) = load()
    except DataError as error:  # vectors, one value everywhere …
        return str(error)
    if feature.kind == "numeric" or feature.size <= NAMES * number:
        return ""
    return f"{feature.size - 1:,} different values for {number:,} rows are names rather than a feature"


__all__ = ["feature_columns", "without_tables"]

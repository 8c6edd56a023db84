"""Which columns of the tables of items and users can be features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning_croloss.data import Feature, TableDataModule
from lightning_croloss.errors import DataError

#: Features at most; tokens at most, as a share of the rows: more of them are names rather than features.
MOST, NAMES = 12, 0.5


def feature_columns(
    data: TableDataModule, given: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of the items' and of the users' table that can be features.

    Args:
        data: the data, with its tables.
        given: arguments of ``TableDataModule`` that the user has set; features among them stay.

    Raises:
        DataError: a table or a column that the user names is missing.
    """
    return _columns(data, "items", given), _columns(data, "users", given)


def without_tables(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of ``TableDataModule`` without features and the tables that only these need."""
    kept = {
        name: value for name, value in arguments.items() if name not in ("item_features", "user_features")
    }
    kept.pop("users", None)
    if kept.get("title_column") is None:
        kept.pop("items", None)
    return kept


def _columns(data: TableDataModule, table: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    from lightning_croloss.data.table.feature_tables import load_features
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

    def load(*columns: str) -> list[Feature]:
        spec = replace(data.spec, **{table: path, argument: columns})
        return load_features(spec, {table: vocabulary})[0][table]

    if wanted:
        load(*wanted)
        return tuple(wanted)
    found: list[str] = []
    others = (column for column in file.columns if column not in (identity, data.spec.title_column))
    for column in others:
        try:
            (feature,) = load(column)
        except DataError:  # vectors, one value everywhere …: it is no feature
            continue
        if _tells_something(feature, len(vocabulary)) and len(found) < MOST:
            found.append(column)
    return tuple(found)


def _tells_something(feature: Feature, number: int) -> bool:
    return feature.kind == "numeric" or feature.size <= NAMES * number


__all__ = ["feature_columns", "without_tables"]

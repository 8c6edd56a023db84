"""Item and user features from tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from croloss_serving.common.feature_encoding import FeatureEncoding
from lightning_croloss.data.feature_alignment import Texts, align_features, align_titles, split_feature
from lightning_croloss.data.features import KIND_OF_TYPE, Feature
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.data.table.conversion import (
    holds_tokens,
    looks_like_decimal_commas,
    parse_numbers,
    refuse_kinds,
    to_text,
    whole_numbers,
)
from lightning_croloss.data.table.reading import Table, describe_comments, read_table, with_missing
from lightning_croloss.data.table.sources import feature_files
from lightning_croloss.data.table.spec import TableSpec
from lightning_croloss.data.table.vectors import holds_vectors
from lightning_croloss.errors import DataError, suggest


def load_features(
    spec: TableSpec,
    vocabularies: Mapping[str, Vocabulary],
    encodings: Sequence[FeatureEncoding] = (),
) -> tuple[dict[str, list[Feature]], list[str]]:
    """Read the features of the items and users that vocabularies hold.

    Args:
        spec: which files and columns.
        vocabularies: the tokens of "items" and of "users", or of one of them.
        encodings: how each feature is read, for ids that training did not know; none to learn that.

    Returns:
        the features of each table, and sentences about what is missing and what was left out.

    Raises:
        DataError: a file or a column is missing or cannot be used, or an id stands twice.
    """
    features: dict[str, list[Feature]] = {}
    notes: list[str] = []
    for table, vocabulary in vocabularies.items():
        features[table] = []
        if spec.files[table] is not None:
            features[table], more = _features_of(spec, table, vocabulary, encodings)
            notes += more
    return features, notes


def check_table(spec: TableSpec, name: str, vocabulary: Vocabulary) -> None:
    """Check all of the table "items" or "users" but its features.

    Raises:
        DataError: it cannot be read, lacks an id, holds one twice, or none that has interactions.
    """
    id_column = spec.id_columns[name]
    table = read_table(feature_files(spec, name), {f"{name}_id_column": id_column})
    _ids(table, id_column, vocabulary)


def load_titles(spec: TableSpec, title_column: str, vocabulary: Vocabulary) -> list[str]:
    """Read the titles of the items of a vocabulary, "" where there is none.

    Raises:
        DataError: a file or a column is missing or cannot be used, or an id stands twice.
    """
    id_column = spec.id_columns["items"]
    files = feature_files(spec, "items")
    table = read_table(files, {"items_id_column": id_column, "title_column": title_column})
    titles = table.frame[title_column]
    if titles.dtype.is_nested():
        raise DataError(f"{table.name}: column {title_column!r} holds {titles.dtype}, which is not a title")
    texts = to_text(table, titles, "a title").replace(list(spec.missing_values), None).fill_null("")
    for note in _left_out(table):
        rank_zero_info(f"{table.name}: {note}")
    return align_titles(_ids(table, id_column, vocabulary), texts.to_list(), len(vocabulary))


def _features_of(
    spec: TableSpec, name: str, vocabulary: Vocabulary, encodings: Sequence[FeatureEncoding]
) -> tuple[list[Feature], list[str]]:
    """Read the features of one table, "items" or "users"."""
    wanted, id_column = spec.feature_names[name], spec.id_columns[name]
    files = feature_files(spec, name)
    columns = [split_feature(entry, files[0].columns)[0] for entry in wanted]
    for column in columns:
        if column == id_column or column not in files[0].columns:
            known = files[0].columns.keys() - {id_column}
            raise DataError(f"{files[0].path.name} has no feature {column!r}{suggest(column, known)}")
    argument = f"{name.removesuffix('s')}_features"
    table = read_table(
        files,
        {f"{name}_id_column": id_column, **{f"{argument} ({column!r})": column for column in columns}},
    )
    frame = with_missing(table.frame, spec.missing_values, id_column)
    features, notes = align_features(
        table.name,
        wanted,
        {column: _type(table, column) for column in columns},
        lambda column, kind: _kind(frame[column], kind, table.decimal),
        _ids(table, id_column, vocabulary),
        lambda column, kind: texts_of(table, frame[column], kind, spec.multi_separator),
        len(vocabulary),
        spec.multi_separator,
        table.location,
        encodings,
    )
    notes = _left_out(table) + notes
    for feature in features:
        if feature.kind == "categorical" and looks_like_decimal_commas(frame[feature.name]):
            notes.append(
                f"{feature.name} is categorical, but looks like numbers with a decimal comma: set decimal to "
                "',' if it is"
            )
    return features, [f"{table.name}: {note}" for note in notes]


def _left_out(table: Table) -> list[str]:
    """Return sentences about what reading left out."""
    notes = []
    if table.left_out.ragged:
        notes.append(
            f"{table.left_out.ragged} lines of another number of fields than the header are left out"
        )
    if table.left_out.comments:
        notes.append(describe_comments(table.left_out))
    return notes


def _ids(table: Table, column: str, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the id of each row, refusing missing and repeated tokens and a table of other ids."""
    series = table.frame[column]
    if series.null_count():
        location = table.location(int(series.is_null().arg_max() or 0))
        raise DataError(f"{location}: column {column!r} has no value: every row needs an id")
    refuse_kinds(table, column, holds_tokens, "ids must be integers or text")
    if series.dtype.is_float():
        series = whole_numbers(table, column)
    refuse_repeated(table, column, series)
    ids = vocabulary.encode(series.to_numpy())
    if not ids.any():
        raise DataError(
            f"{table.location(0)}: column {column!r} holds {series[0]!r}; none of its ids has interactions, "
            f"whose first is {vocabulary.tokens[0]!r}: is it the right column?"
        )
    return ids


def refuse_repeated(table: Table, column: str, ids: pl.Series) -> None:
    """Refuse a table in which an id stands twice.

    Args:
        table: the table.
        column: the name of the column of ids.
        ids: what it holds.

    Raises:
        DataError: naming both rows.
    """
    repeated = ~ids.is_first_distinct()
    if repeated.any():
        again = int(repeated.arg_max() or 0)
        first = int((ids == ids[again]).arg_max() or 0)
        raise DataError(
            f"{table.location(again)}: {column} {ids[again]!r} stands again, after "
            f"{table.location(first)}: keep one"
        )


def _type(table: Table, name: str) -> str:
    return table.files[0].columns[name] if table.files[0].is_text else str(table.frame[name].dtype)


def _kind(series: pl.Series, kind: str, decimal: str) -> str:
    """Return the kind of feature that a column is unless the user says otherwise, "" if none."""
    if kind in KIND_OF_TYPE:
        return KIND_OF_TYPE[kind]
    if isinstance(series.dtype, (pl.List, pl.Array)):
        return "multi"
    if kind == "text":  # a CSV file has no types
        present = series.drop_nulls()
        return "categorical" if parse_numbers(present, decimal).null_count() else "numeric"
    if series.dtype.is_numeric():
        return "numeric"
    return "categorical" if series.dtype in (pl.String, pl.Boolean) else ""


def texts_of(table: Table, series: pl.Series, kind: str, separator: str) -> Texts:
    """Return the values of a feature as texts, or as lists of texts if it holds lists; "" is missing.

    Raises:
        DataError: the column holds what cannot be a feature of this kind.
    """
    if holds_vectors(series, separator if kind == "multi" else None):
        raise DataError(
            f"{table.name}: column {series.name!r} holds vectors of numbers, which is not a feature: leave "
            "it out, or give each number a column of its own"
        )
    inner = series.dtype.inner if isinstance(series.dtype, (pl.List, pl.Array)) else series.dtype
    if inner.is_nested() or series.dtype == pl.Binary:
        raise DataError(f"{table.name}: column {series.name!r} holds {series.dtype}, which is not a feature")
    if isinstance(series.dtype, (pl.List, pl.Array)):
        if kind != "multi":
            raise DataError(
                f"{table.name}: column {series.name!r} holds lists: it can only be multi, not {kind}"
            )
        sets = to_text(table, series, "a feature", pl.List(pl.String)).to_list()
        return [[token for token in tokens or () if token] for tokens in sets]
    if kind == "numeric" and table.decimal == "," and series.dtype == pl.String:
        numbers = parse_numbers(series, table.decimal).cast(pl.String)
        series = numbers.zip_with(numbers.is_not_null(), series)  # the others are refused as they are written
    return [text or "" for text in to_text(table, series, "a feature").to_list()]

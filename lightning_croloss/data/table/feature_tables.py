"""Item and user features from tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lightning_croloss.data.feature_rows import Texts, features_of_rows, titles_of_rows
from lightning_croloss.data.features import Feature
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.data.recbole.kinds import KIND_OF_TYPE
from lightning_croloss.data.table.reading import Table, find_files, read_table
from lightning_croloss.errors import DataError, suggest


def load_features(
    field: str,
    given: str,
    wanted: Sequence[str],
    id_argument: str,
    id_column: str,
    vocabulary: Vocabulary,
    separator: str | None = None,
    multi_separator: str = " ",
    missing_values: Sequence[str] = (),
) -> tuple[list[Feature], list[str]]:
    """Read features for the ids of a vocabulary.

    Args:
        field: "items" or "users", the argument that names the files.
        given: a file, a folder or a glob.
        wanted: names of columns, or ``"name:kind"``.
        id_argument: the argument that names the column of the ids.
        id_column: the column of the ids.
        vocabulary: the ids' tokens.
        separator: what stands between the fields of text files; None goes by the ending.
        multi_separator: what stands between the tokens of a multi-valued text.
        missing_values: texts that mean "missing", beside the empty one.

    Returns:
        the features, and sentences about what is missing and what was left out.

    Raises:
        DataError: a file or a column is missing or cannot be used, or an id stands twice.
    """
    files = find_files(field, given, f".{field.removesuffix('s')}", separator)
    names = [entry.partition(":")[0] for entry in wanted]
    for name in names:
        if name == id_column or name not in files[0].columns:
            known = files[0].columns.keys() - {id_column}
            raise DataError(f"{files[0].path.name} has no feature {name!r}{suggest(name, known)}")
    columns = {id_argument: id_column} | {f"{field.removesuffix('s')}_features ({n!r})": n for n in names}
    table = read_table(files, columns)
    frame = table.frame
    if missing_values:
        frame = frame.with_columns(pl.col(pl.String).exclude(id_column).replace(list(missing_values), None))
    features, notes = features_of_rows(
        table.name,
        wanted,
        {name: _type(table, name) for name in names},
        lambda name, kind: _kind(frame[name], kind),
        _ids(table, id_column, vocabulary),
        lambda name, kind: _texts(table, frame[name], kind),
        len(vocabulary),
        multi_separator,
        table.place,
    )
    return features, [f"{table.name}: {note}" for note in notes]


def load_titles(
    given: str,
    title_column: str,
    id_column: str,
    vocabulary: Vocabulary,
    separator: str | None = None,
    missing_values: Sequence[str] = (),
) -> list[str]:
    """Read the titles of the items of a vocabulary, "" where there is none.

    Args:
        given: a file, a folder or a glob.
        title_column: the column of the titles.
        id_column: the column of the ids.
        vocabulary: the items' tokens.
        separator: what stands between the fields of text files; None goes by the ending.
        missing_values: texts that mean "missing", beside the empty one.

    Raises:
        DataError: a file or a column is missing or cannot be used, or an id stands twice.
    """
    files = find_files("items", given, ".item", separator)
    table = read_table(files, {"items_id_column": id_column, "title_column": title_column})
    titles = table.frame[title_column]
    if titles.dtype.is_nested():
        raise DataError(f"{table.name}: column {title_column!r} holds {titles.dtype}, which is no title")
    texts = titles.cast(pl.String).replace(list(missing_values), None).fill_null("")
    return titles_of_rows(_ids(table, id_column, vocabulary), texts.to_list(), len(vocabulary))


def _ids(table: Table, column: str, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the id of each row, refusing missing and repeated tokens and a table of other ids."""
    series = table.frame[column]
    if series.null_count():
        place = table.place(int(series.is_null().arg_max() or 0))
        raise DataError(f"{place}: column {column!r} has no value: every row needs an id")
    if series.dtype.is_float():
        whole = series.cast(pl.Int64, strict=False)
        series = whole if (whole == series).all() else series
    if not (series.dtype.is_integer() or series.dtype == pl.String):
        raise DataError(f"{table.name}: column {column!r} holds {series.dtype}: ids must be integers or text")
    repeated = ~series.is_first_distinct()
    if repeated.any():
        again = int(repeated.arg_max() or 0)
        first = int((series == series[again]).arg_max() or 0)
        raise DataError(
            f"{table.place(again)}: {column} {series[again]!r} stands again, after {table.place(first)}: "
            "keep one"
        )
    ids = vocabulary.encode(series.to_numpy())
    if not ids.any():
        raise DataError(
            f"{table.place(0)}: column {column!r} holds {series[0]!r}; none of its ids has interactions, "
            f"whose first is {vocabulary.tokens[0]!r}: is it the right column?"
        )
    return ids


def _type(table: Table, name: str) -> str:
    return table.files[0].columns[name] if table.files[0].is_text else str(table.frame[name].dtype)


def _kind(series: pl.Series, kind: str) -> str:
    """Return the kind of feature that a column is unless the user says otherwise, "" if none."""
    if kind in KIND_OF_TYPE:
        return KIND_OF_TYPE[kind]
    if isinstance(series.dtype, (pl.List, pl.Array)):
        return "multi"
    if kind == "text":  # a CSV file has no types
        present = series.drop_nulls()
        return "categorical" if present.cast(pl.Float64, strict=False).null_count() else "numeric"
    if series.dtype.is_numeric():
        return "numeric"
    return "categorical" if series.dtype in (pl.String, pl.Boolean) else ""


def _texts(table: Table, series: pl.Series, kind: str) -> Texts:
    if isinstance(series.dtype, (pl.List, pl.Array)):
        if kind != "multi":
            raise DataError(
                f"{table.name}: column {series.name!r} holds lists: it can only be multi, not {kind}"
            )
        lists = series.cast(pl.List(pl.String), strict=False).to_list()
        return [[token for token in tokens or () if token] for tokens in lists]
    if series.dtype.is_nested():
        raise DataError(f"{table.name}: column {series.name!r} holds {series.dtype}, which is no feature")
    return [text or "" for text in series.cast(pl.String).to_list()]

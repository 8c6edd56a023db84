"""Item and user features from RecBole's ``.item`` and ``.user`` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.utilities import rank_zero_info

from lightning_croloss.data.feature_alignment import align_features, align_titles
from lightning_croloss.data.features import KIND_OF_TYPE, Feature
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.errors import DataError, suggest


def load_features(
    file: Path,
    wanted: Sequence[str],
    id_field: str,
    vocabulary: Vocabulary,
    settings: Mapping[str, Any],
    missing_values: Sequence[str] = (),
) -> list[Feature]:
    """Read features for the ids of a vocabulary.

    What is missing is reported once: values, ids without a row, and rows of ids without interactions, which
    are left out.

    Args:
        file: a ``.item`` or ``.user`` file.
        wanted: names of columns, or ``"name:kind"`` where the type in the file says another kind.
        id_field: the column that holds the ids.
        vocabulary: the ids' tokens.
        settings: RecBole settings; its separators and encoding count.
        missing_values: texts that mean "missing", besides the empty one.

    Raises:
        DataError: the file or a column is missing, an id stands twice, or a column cannot be used.
    """
    if not file.is_file():
        raise DataError(f"features {list(wanted)} need the file {file.name}, which is not in {file.parent}")
    table, types = _read(file, id_field, settings)
    features, notes = align_features(
        file.name,
        wanted,
        {name: kind for name, kind in types.items() if name != id_field},
        lambda _, kind: KIND_OF_TYPE.get(kind, ""),
        vocabulary.encode(table[id_field].tolist()),
        lambda name, _: list(table[name].replace(list(missing_values), "")),
        len(vocabulary),
        settings.get("seq_separator") or " ",
    )
    if notes:
        rank_zero_info(f"{file.name}: {'; '.join(notes)}")
    return features


def load_titles(
    file: Path,
    field: str,
    id_field: str,
    vocabulary: Vocabulary,
    settings: Mapping[str, Any],
    missing_values: Sequence[str] = (),
) -> list[str]:
    """Read the titles of the items of a vocabulary, "" where there is none.

    Args:
        file: a ``.item`` file.
        field: the column that holds the titles.
        id_field: the column that holds the ids.
        vocabulary: the items' tokens.
        settings: RecBole settings; its separators and encoding count.
        missing_values: texts that mean "missing", besides the empty one.

    Raises:
        DataError: the file or a column is missing, or an id stands twice.
    """
    if not file.is_file():
        raise DataError(f"title_field={field!r} needs the file {file.name}, which is not in {file.parent}")
    table, types = _read(file, id_field, settings)
    if field not in types:
        raise DataError(f"{file.name} has no column {field!r}{suggest(field, types)}")
    titles = table[field].replace(list(missing_values), "")
    return align_titles(vocabulary.encode(table[id_field].tolist()), titles, len(vocabulary))


def _read(file: Path, id_field: str, settings: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return a file's columns as text, and the type of each."""
    try:
        table = pd.read_csv(
            file,
            sep=settings.get("field_separator") or "\t",
            dtype=str,
            keep_default_na=False,
            encoding=settings.get("encoding") or "utf-8",
        ).fillna("")  # the last columns of a row that is too short
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{file.name} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first fields for names of the rows
        raise DataError(f"{file.name} has more fields in line 2 than columns in its header")
    types = dict(column.partition(":")[::2] for column in table.columns)
    if len(types) < len(table.columns):
        raise DataError(f"{file.name} has two columns of the same name in its header: rename one")
    table.columns = pd.Index(list(types))
    if id_field not in types:
        raise DataError(f"{file.name} has no column {id_field!r}{suggest(id_field, types)}")
    repeated = table.index[table[id_field].duplicated()]
    if len(repeated):
        token = table[id_field][repeated[0]]
        raise DataError(f"{file.name} holds {id_field} {token!r} again in line {repeated[0] + 2}: keep one")
    return table, types

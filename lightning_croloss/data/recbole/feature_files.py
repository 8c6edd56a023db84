"""Item and user features from RecBole's ``.item`` and ``.user`` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from croloss_serving.common.feature_encoding import FeatureEncoding
from lightning_croloss.data.feature_alignment import align_features, align_titles, split_feature
from lightning_croloss.data.features import KIND_OF_TYPE, Feature
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.data.recbole.atomic import AtomicFile, line_of, open_atomic, refuse_repeated
from lightning_croloss.data.table.reading import Table
from lightning_croloss.errors import DataError, suggest


def load_features(
    file: Path,
    wanted: Sequence[str],
    id_field: str,
    vocabulary: Vocabulary,
    settings: Mapping[str, Any],
    missing_values: Sequence[str] = (),
    ragged: str = "error",
    encodings: Sequence[FeatureEncoding] = (),
) -> list[Feature]:
    """Read features for the ids of a vocabulary.

    What is missing is reported once: values, ids without a row, and rows of ids without interactions, which
    are left out.

    Args:
        file: a ``.item`` or ``.user`` file.
        wanted: names of columns, or ``"name:kind"`` where the type in the file says another kind.
        id_field: the column that holds the ids.
        vocabulary: the ids' tokens.
        settings: RecBole settings; its separators, encoding and ``seq_len`` count.
        missing_values: texts that mean "missing", besides the empty one.
        ragged: as for :class:`RecBoleDataModule`.
        encodings: how each feature is read, for ids that training did not know; none to learn that.

    Raises:
        DataError: the file or a column is missing, an id stands twice, or a column cannot be used.
    """
    if not file.is_file():
        raise DataError(f"features {list(wanted)} need the file {file.name}, which is not in {file.parent}")
    table, opened = _read(file, id_field, wanted, settings, ragged)
    separator = settings.get("seq_separator") or " "
    features, notes = align_features(
        file.name,
        wanted,
        {name: kind for name, kind in opened.types.items() if name != id_field},
        lambda _, kind: KIND_OF_TYPE.get(kind, ""),
        vocabulary.encode(table.frame[id_field].to_list()),
        lambda name, _: _texts(table, name, missing_values),
        len(vocabulary),
        separator,
        lambda row: line_of(table, row),
        encodings,
        settings.get("seq_len"),
    )
    if notes and not encodings:
        rank_zero_info(f"{file.name}: {'; '.join(notes)}")
    return features


def load_titles(
    file: Path,
    field: str,
    id_field: str,
    vocabulary: Vocabulary,
    settings: Mapping[str, Any],
    missing_values: Sequence[str] = (),
    ragged: str = "error",
) -> list[str]:
    """Read the titles of the items of a vocabulary, "" where there is none.

    Args:
        file: a ``.item`` file.
        field: the column that holds the titles.
        id_field: the column that holds the ids.
        vocabulary: the items' tokens.
        settings: RecBole settings; its separators and encoding count.
        missing_values: texts that mean "missing", besides the empty one.
        ragged: as for :class:`RecBoleDataModule`.

    Raises:
        DataError: the file or a column is missing, or an id stands twice.
    """
    if not file.is_file():
        raise DataError(f"title_field={field!r} needs the file {file.name}, which is not in {file.parent}")
    table, opened = _read(file, id_field, [field], settings, ragged)
    if field not in opened.types:
        raise DataError(f"{file.name} has no column {field!r}{suggest(field, opened.types)}")
    ids = vocabulary.encode(table.frame[id_field].to_list())
    return align_titles(ids, _texts(table, field, missing_values), len(vocabulary))


def _read(
    path: Path, id_field: str, wanted: Sequence[str], settings: Mapping[str, Any], ragged: str
) -> tuple[Table, AtomicFile]:
    """Return the column of the ids and those that are wanted, as features are, and there, as text."""
    file = open_atomic(path, settings, ragged)
    if id_field not in file.types:
        raise DataError(f"{file.name} has no column {id_field!r}{suggest(id_field, file.types)}")
    names = [split_feature(entry, file.types)[0] for entry in wanted]
    table = file.read([name for name in names if name in file.types], [id_field])
    refuse_repeated(file.name, table, id_field)
    return table, file


def _texts(table: Table, column: str, missing_values: Sequence[str]) -> list[str]:
    """Return a column as text, "" where missing."""
    texts = table.frame[column].replace(list(missing_values), "") if missing_values else table.frame[column]
    return texts.fill_null("").to_list()

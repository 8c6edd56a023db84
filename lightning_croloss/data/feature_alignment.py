"""Alignment of the rows of a feature table with a vocabulary, whatever read the table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.feature_encoding import FeatureEncoding
from lightning_croloss.data.features import KINDS, Feature, build_feature
from lightning_croloss.errors import DataError, suggest

Texts = Sequence[str] | Sequence[Sequence[str]]


def split_feature(entry: str, columns: Collection[str]) -> tuple[str, str]:
    """Return the column that ``"name"`` or ``"name:kind"`` names, and the kind or "".

    Args:
        entry: what the user wrote; a name may hold colons itself, as ``og:brand`` does.
        columns: the columns that there are.
    """
    name, _, kind = entry.rpartition(":")
    named = entry not in columns and (name in columns or kind in KINDS)
    return (name, kind) if named else (entry, "")


def align_titles(ids: NDArray[np.int64], titles: Iterable[str], num_ids: int) -> list[str]:
    """Return the titles of ids 1 … num_ids, "" where there is none.

    Args:
        ids: (R,) id of each row, 0 where no interaction has it.
        titles: (R,) title of each row, "" where missing.
        num_ids: number of ids.
    """
    found = dict(zip(ids.tolist(), titles, strict=True))
    return [found.get(number, "") for number in range(1, num_ids + 1)]


def align_features(
    source: str,
    wanted: Sequence[str],
    types: Mapping[str, str],
    kind_of_type: Callable[[str, str], str],
    ids: NDArray[np.int64],
    texts: Callable[[str, str], Texts],
    num_ids: int,
    separator: str = " ",
    location: Callable[[int], str] | None = None,
    encodings: Sequence[FeatureEncoding] = (),
    lengths: Mapping[str, int] | None = None,
) -> tuple[list[Feature], list[str]]:
    """Build features in the order of the ids, and tell what is missing.

    Args:
        source: name of the file, for errors.
        wanted: names of columns, or ``"name:kind"`` where the type says another kind.
        types: for each column that may be a feature its type in the file.
        kind_of_type: from a column and its type to the kind that it is unless the user says otherwise, ""
            if it cannot be a feature.
        ids: (R,) id of each row, 0 where no interaction has it; each other id at most once.
        texts: from the name of a column and the kind to its values (R,): "" where missing, and lists of texts
            if the column holds lists.
        num_ids: number of ids n of the vocabulary.
        separator: what stands between the tokens of a "multi" feature.
        location: from a row to where it stands in the file, for errors; None is ``line row + 2``.
        encodings: how each wanted feature is read, for ids that training did not know; none to learn that.
        lengths: for columns of which not all tokens are read the number of those that are, the first ones.

    Returns:
        the features, and sentences about missing values, ids without a row, and rows of ids without
        interactions, which are left out.

    Raises:
        DataError: a column is missing, wanted twice, or cannot be used.
    """
    row_of_id = np.full(num_ids + 1, -1)
    row_of_id[ids] = np.arange(len(ids))
    rows = row_of_id[1:].tolist()
    notes = []
    if unknown := int((ids == 0).sum()):
        notes.append(f"{unknown} rows of ids without interactions are left out")
    if absent := int((row_of_id[1:] < 0).sum()):
        notes.append(f"{absent} of {num_ids} ids have no row")
    locations = [(row, "" if row < 0 else location(row) if location else f"line {row + 2}") for row in rows]

    features: list[Feature] = []
    for number, entry in enumerate(wanted):
        name, kind = split_feature(entry, types)
        if name in (feature.name for feature in features):
            raise DataError(f"{source}: feature {name!r} is wanted twice: name it once")
        if name not in types:
            raise DataError(f"{source} has no feature {name!r}{suggest(name, types)}")
        encoding = encodings[number] if encodings else None
        kind = encoding.kind if encoding else kind or kind_of_type(name, types[name])
        if kind not in KINDS:
            raise DataError(
                f"{source}: feature {entry!r} of type {types[name]!r} must be one of {', '.join(KINDS)}: "
                f"write {name}:categorical, for example"
            )
        column = texts(name, kind)
        known = ["" if row < 0 else column[row] for row in rows]
        length = (lengths or {}).get(name)
        feature = build_feature(name, kind, known, source, separator, locations, encoding, length)
        if feature.num_missing > absent:
            notes.append(f"{name} is missing for {feature.num_missing} of {num_ids}")
        if feature.num_absurd:
            notes.append(
                f"{name} has {feature.num_absurd} numbers far from all others, which count as the farthest "
                "of these: name them in missing_values if they mean that nothing is known"
            )
        if feature.num_shortened:
            notes.append(
                f"{name} has far more values than usual for {feature.num_shortened} ids: their most common "
                f"{feature.values.shape[1]} are kept"
            )
        features.append(feature)
    return features, notes

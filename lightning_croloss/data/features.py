"""Features of items or users, as tables of numbers that a model keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from croloss_serving.common.feature_encoding import KINDS as KINDS
from croloss_serving.common.feature_encoding import FeatureEncoding, first_tokens
from lightning_croloss.common.token_sets import shortened
from lightning_croloss.errors import DataError

#: The kinds that RecBole's types of columns are unless the user says otherwise, "" = none.
KIND_OF_TYPE = {"token": "categorical", "token_seq": "multi", "float": "numeric", "float_seq": ""}


@dataclass(frozen=True)
class Feature:
    """One feature of every item, or of every user.

    Attributes:
        name: name of the column.
        kind: "categorical" (one token), "multi" (a set of tokens) or "numeric".
        size: number of tokens, padding included; 0 if numeric.
        values: (n + 1, W) int64 token ids padded with 0, or (n + 1, 1) float32 standardised numbers with NaN
            where missing; row i belongs to id i, row 0 to padding.
        num_missing: number of ids without a value.
        encoding: how the values of others are read.
        num_absurd: number of ids whose number is so far from all others that it counts as the farthest of
            these.
        num_shortened: number of ids with so many more tokens than the others that only the most common of
            these are kept.
    """

    name: str
    kind: str
    size: int
    values: Tensor
    num_missing: int
    encoding: FeatureEncoding
    num_absurd: int = 0
    num_shortened: int = 0

    @property
    def spec(self) -> dict[str, Any]:
        """What a model must know to make room for the feature, in plain types."""
        width = self.values.shape[1]
        return {"name": self.name, "kind": self.kind, "size": self.size, "width": width}


def build_feature(
    name: str,
    kind: str,
    column: Sequence[str | Sequence[str]],
    source: str,
    separator: str = " ",
    locations: Sequence[tuple[int, str]] | None = None,
    encoding: FeatureEncoding | None = None,
    length: int | None = None,
) -> Feature:
    """Turn a column of texts into a feature.

    Args:
        name: name of the column.
        kind: one of :data:`KINDS`.
        column: for each id 1 … n its text, "" where missing; or the list of its texts, for "multi" only.
        source: name of the file, for errors.
        separator: what stands between the tokens of a "multi" feature.
        locations: for each id the number of its row and the location to name in errors; None if the ids are
            in the order of the rows.
        encoding: how the model reads the feature, for ids that it does not know; None learns it.
        length: how many tokens of a text are read, the first ones; None = all, or as ``encoding`` has it.

    Raises:
        DataError: a number cannot be read, or a feature to learn is missing or the same everywhere.
        ValueError: the kind is unknown.
    """
    num_shortened = 0
    length = length if encoding is None else encoding.length
    if length is not None:
        column = [
            first_tokens(text, separator, length) if isinstance(text, str) else text[:length]
            for text in column
        ]
    if kind == "numeric":
        numbers = _numbers(name, column, source, locations)
        missing = np.isnan(numbers)
        varied = len(np.unique(numbers[~missing])) > 1
        used = encoding or (FeatureEncoding.of_numbers(name, numbers) if varied else None)
        values: NDArray[Any] = numbers[:, None] if used is None else used.scaled(numbers)
    elif kind in KINDS:
        rows = [
            text if not isinstance(text, str) else text.split(separator) if kind == "multi" else [text]
            for text in column
        ]
        sets, num_shortened = shortened([sorted({token for token in row if token}) for row in rows])
        used = encoding or FeatureEncoding.of_tokens(name, kind, sets, separator)
        values = used.ids(sets)
        missing = values[:, 0] == 0
        varied = bool((values[~missing] != values[~missing][:1]).any())
    else:
        raise ValueError(f"feature {name!r} has kind {kind!r}: it must be one of {', '.join(KINDS)}")
    if encoding is None:
        if missing.all():
            raise DataError(f"{source}: column {name!r} is missing everywhere: take it out of the features")
        if not varied:
            raise DataError(f"{source}: column {name!r} is the same everywhere: take it out of the features")
    assert used is not None
    if encoding is None and length is not None:
        used = replace(used, separator=separator, length=length)
    padding = np.full((1, values.shape[1]), math.nan if kind == "numeric" else 0, dtype=values.dtype)
    table = torch.from_numpy(np.concatenate([padding, values]))
    size = 0 if used.tokens is None else len(used.tokens) + 1
    learned = used.standardisation if encoding is None else None
    num_absurd = 0 if learned is None else learned.num_absurd
    return Feature(name, kind, size, table, int(missing.sum()), used, num_absurd, num_shortened)


def _numbers(
    name: str,
    column: Sequence[str | Sequence[str]],
    source: str,
    locations: Sequence[tuple[int, str]] | None,
) -> NDArray[np.float64]:
    """Return (n,) numbers, NaN where missing; refuse what is not a finite number."""
    numbers = [_number(text) if text else math.nan for text in column]
    wrong = [row for row, text in enumerate(column) if text and not math.isfinite(numbers[row])]
    if wrong:
        where = locations or [(row, f"row {row + 1}") for row in range(len(column))]
        first = min(wrong, key=lambda row: where[row][0])
        raise DataError(
            f"{source}: column {name!r} is numeric, but holds {column[first]!r} in {where[first][1]}: "
            "correct it, name it in missing_values, or make the feature categorical"
        )
    return np.array(numbers, dtype=np.float64)


def _number(text: str | Sequence[str]) -> float:
    if not isinstance(text, str):
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan

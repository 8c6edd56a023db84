"""Features of items or users, as tables of numbers that a model keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.common.standardisation import Standardisation
from lightning_croloss.common.token_sets import shortened
from lightning_croloss.data.interactions import Vocabulary
from lightning_croloss.errors import DataError

KINDS = ("categorical", "multi", "numeric")
#: The kinds that RecBole's types of columns are unless the user says otherwise.
KIND_OF_TYPE = {"token": "categorical", "token_seq": "multi", "float": "numeric"}


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

    Raises:
        DataError: a number cannot be read, or the feature is missing or the same everywhere.
        ValueError: the kind is unknown.
    """
    num_shortened = 0
    if kind == "numeric":
        size, values = 0, _numbers(name, column, source, locations)
        present = ~torch.isnan(values[1:, 0])
        varied = bool(present.any()) and bool((values[1:, 0][present] != values[1:, 0][present][0]).any())
    elif kind in KINDS:
        rows = [
            text if not isinstance(text, str) else text.split(separator) if kind == "multi" else [text]
            for text in column
        ]
        sets, num_shortened = shortened([sorted({token for token in row if token}) for row in rows])
        flat = [token for tokens in sets for token in tokens]
        vocabulary = Vocabulary(sorted(set(flat)))
        counts = np.array([0, *map(len, sets)])
        filled = np.arange(max(counts.max(), 1)) < counts[:, None]  # (n + 1, W)
        values = torch.zeros(filled.shape, dtype=torch.long)
        values[torch.from_numpy(filled)] = torch.from_numpy(vocabulary.encode(flat))
        size = len(vocabulary) + 1
        present = (values[1:] != 0).any(1)
        varied = bool(present.any()) and bool((values[1:][present] != values[1:][present][0]).any())
    else:
        raise ValueError(f"feature {name!r} has kind {kind!r}: it must be one of {', '.join(KINDS)}")
    if not present.any():
        raise DataError(f"{source}: column {name!r} is missing everywhere: take it out of the features")
    if not varied:
        raise DataError(f"{source}: column {name!r} is the same everywhere: take it out of the features")
    num_absurd = 0
    if kind == "numeric":
        numbers = values[:, 0].numpy()
        standardisation = Standardisation.of(numbers)
        num_absurd = standardisation.num_absurd
        values = torch.from_numpy(standardisation.apply(numbers)).unsqueeze(1)
    return Feature(name, kind, size, values, int((~present).sum()), num_absurd, num_shortened)


def _numbers(
    name: str,
    column: Sequence[str | Sequence[str]],
    source: str,
    locations: Sequence[tuple[int, str]] | None,
) -> Tensor:
    """Return (n + 1, 1) float64 with NaN where missing; refuse what is not a finite number."""
    numbers = [math.nan, *(_number(text) if text else math.nan for text in column)]
    wrong = [row for row, text in enumerate(column) if text and not math.isfinite(numbers[row + 1])]
    if wrong:
        where = locations or [(row, f"row {row + 1}") for row in range(len(column))]
        first = min(wrong, key=lambda row: where[row][0])
        raise DataError(
            f"{source}: column {name!r} is numeric, but holds {column[first]!r} in {where[first][1]}: "
            "correct it, name it in missing_values, or make the feature categorical"
        )
    return torch.tensor(numbers, dtype=torch.float64).unsqueeze(1)


def _number(text: str | Sequence[str]) -> float:
    if not isinstance(text, str):
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan

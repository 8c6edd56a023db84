"""FeatureEncoding: how the values of a feature, as a user writes them, become numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.common.spellings import plain_value, said_by, spellings
from croloss_serving.common.standardisation import Standardisation
from croloss_serving.common.vocabulary import Vocabulary

KINDS = ("categorical", "multi", "numeric")


@dataclass(frozen=True)
class FeatureEncoding:
    """What was learned of one feature's values, so that those of new users and items are read alike.

    Attributes:
        name: name of the column.
        kind: "categorical" (one token), "multi" (a set of tokens) or "numeric".
        tokens: the tokens that training knows; None if numeric.
        separator: what stands between the tokens of a text, if multi or if ``length`` is given.
        standardisation: how numbers are standardised; None of tokens.
        length: how many tokens of a text or list are read, the first ones; None = all.
    """

    name: str
    kind: str
    tokens: Vocabulary | None = None
    separator: str = " "
    standardisation: Standardisation | None = None
    length: int | None = None

    @classmethod
    def of_numbers(cls, name: str, numbers: NDArray[np.float64]) -> FeatureEncoding:
        """Learn how to standardise numbers (n,), NaN = missing."""
        return cls(name, "numeric", standardisation=Standardisation.of(numbers))

    @classmethod
    def of_tokens(
        cls, name: str, kind: str, rows: Sequence[Sequence[str]], separator: str
    ) -> FeatureEncoding:
        """Learn the tokens of rows of them, "" is none."""
        tokens = sorted({token for row in rows for token in row if token})
        return cls(name, kind, Vocabulary(tokens), separator)

    def encode(self, values: Sequence[Any]) -> NDArray[Any]:
        """Return the values as numbers.

        Args:
            values: (n,) texts, numbers, bools or dates, plain or of numpy, or, if multi, lists of these;
                None, "" and NaN are missing.

        Returns:
            (n, W) int64 ids of tokens, padded with 0, a token that training does not know left out; or
            (n, 1) float32, NaN where missing.

        Raises:
            ValueError: a value is not of this kind; the message names it.
        """
        values = [self._beginning(value) for value in values]
        if self.kind == "numeric":
            return self.scaled(np.array([self._number(value) for value in values], dtype=np.float64))
        return self.ids([self._tokens_of(value) for value in values])

    def scaled(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return numbers (n,), NaN = missing, as (n, 1) float32."""
        assert self.standardisation is not None
        return self.standardisation.apply(numbers)[:, None]

    def ids(self, rows: Sequence[Sequence[str]]) -> NDArray[np.int64]:
        """Return the ids (n, W) of rows of tokens, ascending, padded with 0; unknown tokens are left out.

        A token that training knows only in another spelling, "5" as "5.0" or "true" as "True", is that one.
        """
        flat = self._known_ids([token for row in rows for token in row])
        known: list[list[int]] = []
        begin = 0
        for row in rows:
            known.append(sorted({*flat[begin : begin + len(row)].tolist()} - {0}))
            begin += len(row)
        ids = np.zeros((len(rows), max([1, *map(len, known)])), dtype=np.int64)
        for target, found in zip(ids, known, strict=True):
            target[: len(found)] = found
        return ids

    def _known_ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Return the ids (n,) of tokens (n,) in any spelling, 0 = unknown."""
        assert self.tokens is not None
        found = self.tokens.encode(tokens)
        for index in np.flatnonzero(found == 0).tolist():
            found[index] = self._ids_by_meaning.get(_meaning(tokens[index]), 0)
        return found

    @cached_property
    def _ids_by_meaning(self) -> dict[tuple[type, int] | None, int]:
        """The id of each token that is a whole number or a truth value, by what it stands for."""
        assert self.tokens is not None
        known = enumerate(map(_meaning, self.tokens.tokens), start=1)
        found = {meaning: number for number, meaning in reversed([*known])}  # of several the first
        return {meaning: number for meaning, number in found.items() if meaning is not None}

    def _beginning(self, value: Any) -> Any:
        """Return as much of a value as is read."""
        if self.length is None:
            return value
        value = plain_value(value)
        if isinstance(value, str):
            return first_tokens(value, self.separator, self.length)
        if isinstance(value, (set, frozenset)):
            raise ValueError(
                f"of feature {self.name!r} the first {self.length} tokens are read, and a set has no first "
                f"ones, got {value!r:.60}: give a list"
            )
        if isinstance(value, (list, tuple, np.ndarray)):
            return [entry for entry in value if plain_value(entry) is not None][: self.length]
        return value

    def _tokens_of(self, value: Any) -> list[str]:
        value = plain_value(value)
        if value is None:
            return []
        if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
            if self.kind != "multi":
                raise ValueError(f"feature {self.name!r} is one token, got the list {value!r}")
            entries = [plain_value(entry) for entry in value]
            return [token for entry in entries if entry is not None for token in self._known(entry, False)]
        if isinstance(value, Mapping):
            raise ValueError(f"feature {self.name!r} is a text or number, got {value!r:.60}")
        return self._known(value, self.kind == "multi")

    def _known(self, value: Any, divided: bool) -> list[str]:
        """Return the tokens of a plain value, in the spelling that training knows best."""
        assert self.tokens is not None
        found = [text.split(self.separator) if divided else [text] for text in spellings(value)]
        best = found[0]
        if len(found) > 1:
            encode = self.tokens.encode
            best = max(found, key=lambda tokens: int((encode(tokens) > 0).sum()))  # the first of equal ones
        return [token for token in best if token]

    def _number(self, value: Any) -> float:
        plain = plain_value(value)
        if plain is None:
            return math.nan
        try:
            number = float(plain)
        except (TypeError, ValueError, OverflowError):
            number = math.inf
        if math.isinf(number):
            raise ValueError(f"feature {self.name!r} is a number, got {value!r}")
        return number

    def to_plain(self) -> dict[str, Any]:
        """Return the encoding as plain types."""
        plain: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.tokens is not None:
            plain |= {"tokens": self.tokens.tokens, "separator": self.separator}
        if self.standardisation is not None:
            # infinite limits are left out: JSON has no such number
            plain |= {
                name: value for name, value in vars(self.standardisation).items() if math.isfinite(value)
            }
        if self.length is not None:
            plain |= {"length": self.length, "separator": self.separator}
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> FeatureEncoding:
        """Build an encoding from what :meth:`to_plain` returned.

        Raises:
            ValueError: it is something else.
        """
        name, kind = plain.get("name"), plain.get("kind")
        if not isinstance(name, str) or kind not in KINDS:
            raise ValueError(f"a feature needs a name, and one of the kinds {', '.join(KINDS)}: got {kind!r}")
        length, separator = plain.get("length"), plain.get("separator", " " if kind == "numeric" else None)
        if length is not None and not (type(length) is int and length >= 0 and separator):
            raise ValueError(f"the feature {name!r} does not say how many of its tokens are read")
        if not isinstance(separator, str) or not (separator or kind == "categorical"):
            raise ValueError(f"the feature {name!r} does not say what separates its tokens")
        if kind == "numeric":
            unlimited = {"low": -math.inf, "high": math.inf}
            others = {"name", "kind"} if length is None else {"name", "kind", "length", "separator"}
            learned = {key: value for key, value in plain.items() if key not in others}
            numbers = {**unlimited, **learned}
            if numbers.keys() != Standardisation.__dataclass_fields__.keys() or not all(
                type(number) in (int, float) and abs(number) <= math.inf for number in numbers.values()
            ):
                raise ValueError(f"the feature {name!r} does not say how its numbers are standardised")
            known = 0 < numbers["scale"] < math.inf and abs(numbers["center"]) < math.inf
            if not known or not numbers["low"] <= numbers["high"]:
                raise ValueError(f"the feature {name!r} cannot be standardised by {numbers}")
            return cls(name, kind, None, separator, Standardisation(**numbers), length)
        tokens = plain.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ValueError(f"the feature {name!r} does not say which tokens it has")
        return cls(name, kind, Vocabulary(tokens), separator, length=length)


def first_tokens(text: str, separator: str, length: int) -> str:
    """Return the first ``length`` of the tokens of a text, "" if there are none."""
    return separator.join([token for token in text.split(separator) if token][:length])


def _meaning(token: str) -> tuple[type, int] | None:
    value = said_by(token)
    return None if value is None else (type(value), value)


def plain_encodings(encodings: Sequence[FeatureEncoding] | None) -> list[dict[str, Any]] | None:
    """Return encodings as plain types; None of none."""
    return None if encodings is None else [encoding.to_plain() for encoding in encodings]


def read_encodings(plain: Sequence[Mapping[str, Any]] | None) -> list[FeatureEncoding] | None:
    """Return what :func:`plain_encodings` was given.

    Raises:
        ValueError: it is something else.
    """
    if plain is None:
        return None
    if not isinstance(plain, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in plain):
        raise ValueError("features must be a list of dictionaries")
    encodings = [FeatureEncoding.from_plain(entry) for entry in plain]
    if len({encoding.name for encoding in encodings}) < len(encodings):
        raise ValueError("two features have the same name")
    return encodings

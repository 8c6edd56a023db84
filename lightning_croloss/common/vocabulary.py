"""Vocabulary: the two-way mapping between raw tokens and ids. Imports no torch, for serving."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_croloss.errors import DataError

Tokens = Sequence[Any] | NDArray[Any]
_DECIMAL = re.compile(r"0|-?[1-9][0-9]*")


class Vocabulary:
    """The two-way mapping between raw tokens and ids: ids are 1 … n in the order given, 0 is padding.

    Tokens are strings, or all integers: these stay integers, and their decimal text finds them too.

    Args:
        tokens: distinct raw tokens; numbers other than integers are kept as text.

    Attributes:
        integers: whether the tokens are integers.

    Raises:
        DataError: if a token occurs twice.
    """

    def __init__(self, tokens: Tokens) -> None:
        given = _array(tokens).reshape(-1)
        self.integers = given.dtype.kind in "iu"
        self._tokens: NDArray[Any] = _integers(given) if self.integers else given.astype(np.str_)
        self._order = np.argsort(self._tokens, kind="stable")
        ordered = self._tokens[self._order]
        repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(repeated):
            raise DataError(
                f"a vocabulary needs distinct tokens, but {ordered[repeated[0]].item()!r} occurs twice"
            )

    def __len__(self) -> int:
        """Return the number of real tokens, padding not counted."""
        return len(self._tokens)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and self.integers == other.integers
            and np.array_equal(self._tokens, other._tokens)
        )

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    @property
    def tokens(self) -> list[Any]:
        """The tokens of ids 1 … n, all ``str`` or all ``int``."""
        return list(self._tokens.tolist())

    def encode(self, tokens: Tokens) -> NDArray[np.int64]:
        """Return the ids (n,) of ``tokens`` (n,); a token that is not known becomes 0."""
        wanted = _array(tokens)
        if not len(self) or not wanted.size:
            return np.zeros(wanted.shape, dtype=np.int64)
        possible: NDArray[np.bool_] = np.ones(wanted.shape, dtype=np.bool_)
        if not self.integers:
            wanted = wanted.astype(np.str_)
        elif wanted.dtype.kind in "iu":
            limits = np.iinfo(self._tokens.dtype)
            possible = (wanted >= limits.min) & (wanted <= limits.max)
            wanted = wanted.astype(self._tokens.dtype)
        else:
            wanted, possible = self._read(wanted.astype(np.str_))
        index = np.searchsorted(self._tokens, wanted, sorter=self._order)
        found = self._order[np.minimum(index, len(self) - 1)]
        return np.where((self._tokens[found] == wanted) & possible, found + 1, 0).astype(np.int64)

    def _read(self, texts: NDArray[np.str_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the integers that decimal texts stand for, and which texts do so."""
        limits = np.iinfo(self._tokens.dtype)
        numbers = np.zeros(texts.shape, dtype=self._tokens.dtype)
        possible = np.zeros(texts.shape, dtype=np.bool_)
        for index, text in np.ndenumerate(texts):
            if _DECIMAL.fullmatch(text) and limits.min <= int(text) <= limits.max:
                numbers[index], possible[index] = int(text), True
        return numbers, possible

    def decode(self, ids: ArrayLike) -> list[Any]:
        """Return the tokens of ``ids`` (n,); 0 becomes the empty string.

        Raises:
            ValueError: if an id is not in 0 … n.
        """
        index = np.asarray(ids, dtype=np.int64).reshape(-1)
        wrong = index[(index < 0) | (index > len(self))]
        if len(wrong):
            raise ValueError(f"id {wrong[0]} is not in the vocabulary, whose ids are 1 … {len(self)}")
        return [self._tokens[i - 1].item() if i else "" for i in index]

    def fingerprint(self) -> str:
        """Return a short SHA-256 of the tokens in order, the same on every machine."""
        # the length goes first so that no token can imitate a separator
        digest = hashlib.sha256()
        for token in self.tokens:
            encoded = str(token).encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()[:16]


def _array(tokens: Tokens) -> NDArray[Any]:
    array = np.asarray(tokens)
    # numpy turns integers into floats if some fit into int64 and others only into uint64
    if array.dtype.kind == "f" and array.size and all(type(token) is int for token in tokens):
        return np.array(tokens, dtype=np.uint64 if min(tokens) >= 0 else np.str_)
    return array


def _integers(tokens: NDArray[Any]) -> NDArray[Any]:
    """Return tokens as int64, or as uint64 where they are too large for it."""
    large = tokens.dtype == np.uint64 and bool((tokens > np.iinfo(np.int64).max).any())
    return tokens if large else tokens.astype(np.int64)

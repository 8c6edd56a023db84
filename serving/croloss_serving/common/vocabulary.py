"""Vocabulary: the two-way mapping between raw tokens and ids."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from croloss_serving.errors import DataError

Tokens = Sequence[Any] | NDArray[Any]
_DECIMAL = re.compile(r"0|-?[1-9][0-9]*")
_LONGEST = 20  # letters of an integer of 64 bits


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
        # text is kept as Python's own: numpy would make every token as wide as the longest
        self._texts: list[str] | None = None
        self._numbers: NDArray[Any] = np.zeros(0, dtype=np.int64)
        numbers = integers_of(tokens)
        self.integers = numbers is not None
        if numbers is None:
            self._texts = texts_of(tokens)
            if len(set(self._texts)) < len(self._texts):
                _refuse_repeated(max(Counter(self._texts).items(), key=lambda entry: entry[1])[0])
            return
        self._numbers = numbers
        self._order = np.argsort(numbers, kind="stable")
        ordered = numbers[self._order]
        repeated = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(repeated):
            _refuse_repeated(ordered[repeated[0]].item())

    def __len__(self) -> int:
        """Return the number of real tokens, padding not counted."""
        return len(self._numbers if self._texts is None else self._texts)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and self._texts == other._texts
            and np.array_equal(self._numbers, other._numbers)
        )

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    @property
    def tokens(self) -> list[Any]:
        """The tokens of ids 1 … n, all ``str`` or all ``int``."""
        return list(self._numbers.tolist() if self._texts is None else self._texts)

    def encode(self, tokens: Tokens) -> NDArray[np.int64]:
        """Return the ids (n,) of ``tokens`` (n,); a token that is not known becomes 0."""
        shape = np.shape(tokens) if isinstance(tokens, np.ndarray) else (len(tokens),)
        if not self.integers:
            found = map(self._id_of_text.get, texts_of(tokens), repeat(0))
            return np.fromiter(found, dtype=np.int64, count=math.prod(shape)).reshape(shape)
        numbers = integers_of(tokens)
        if numbers is None:
            wanted, possible = self._read(texts_of(tokens))
        else:
            wanted = numbers.astype(self._numbers.dtype)
            # what only one of int64 and uint64 can hold changes its sign on the way to the other
            possible = (wanted < 0) == (numbers < 0)
        if not len(self):
            return np.zeros(shape, dtype=np.int64)
        index = np.searchsorted(self._numbers, wanted, sorter=self._order)
        known = self._order[np.minimum(index, len(self) - 1)]
        ids = np.where((self._numbers[known] == wanted) & possible, known + 1, 0)
        return ids.astype(np.int64).reshape(shape)

    @cached_property
    def _id_of_text(self) -> dict[str, int]:
        return {text: number for number, text in enumerate(self._texts or (), start=1)}

    def _read(self, texts: list[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the integers that decimal texts stand for, and which texts do so."""
        limits = np.iinfo(self._numbers.dtype)
        numbers = np.zeros(len(texts), dtype=self._numbers.dtype)
        possible = np.zeros(len(texts), dtype=np.bool_)
        for index, text in enumerate(texts):
            if len(text) > _LONGEST or not _DECIMAL.fullmatch(text):
                continue
            if limits.min <= int(text) <= limits.max:
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
        if self._texts is not None:
            return [self._texts[i - 1] if i else "" for i in index.tolist()]
        # in one step: a loop over numbers of numpy takes ten times as long
        known = index > 0
        tokens: list[Any] = [""] * len(index)
        for position, token in zip(
            np.flatnonzero(known).tolist(), self._numbers[index[known] - 1].tolist(), strict=True
        ):
            tokens[position] = token
        return tokens

    def fingerprint(self) -> str:
        """Return a short SHA-256 of the tokens in order, the same on every machine."""
        # the length goes first so that no token can imitate a separator
        digest = hashlib.sha256()
        for token in self.tokens:
            encoded = str(token).encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()[:16]


def integers_of(tokens: Tokens) -> NDArray[Any] | None:
    """Return tokens (n,) as int64, or as uint64 where they need it; None unless all are such integers.

    Without any token it cannot be told: None.
    """
    given = _plain(tokens)
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "iu":
            return None
        large = given.dtype == np.uint64 and bool((given > np.iinfo(np.int64).max).any())
        return given if large else given.astype(np.int64)
    kinds = set(map(type, given))
    if not kinds or bool in kinds or not all(issubclass(kind, (int, np.integer)) for kind in kinds):
        return None
    low, high = int(min(given)), int(max(given))
    if low >= -(2**63) and high < 2**63:
        return np.fromiter(given, dtype=np.int64, count=len(given))
    return np.fromiter(given, dtype=np.uint64, count=len(given)) if low >= 0 and high < 2**64 else None


def texts_of(tokens: Tokens) -> list[str]:
    """Return tokens (n,) as text."""
    given = _plain(tokens)
    if isinstance(given, np.ndarray) and given.dtype.kind == "S":
        try:
            return [token.decode() for token in given.tolist()]
        except UnicodeDecodeError as error:
            raise DataError(f"the token {error.object!r} is not UTF-8 text: decode it") from None
    if isinstance(given, np.ndarray):
        return list(given.astype(np.str_).tolist())  # numbers, which have few letters
    return [token if type(token) is str else str(token) for token in given]


def _plain(tokens: Tokens) -> Sequence[Any] | NDArray[Any]:
    """Return tokens (n,) as an array of numbers, or as a list of whatever they are.

    Never as numpy's text, in which every token is as wide as the longest.
    """
    if not isinstance(tokens, np.ndarray) and hasattr(tokens, "__array__"):
        tokens = np.asarray(tokens)
    if not isinstance(tokens, np.ndarray):
        return tokens
    flat = tokens.reshape(-1)
    return flat.tolist() if flat.dtype.kind in "OUT" else flat


def _refuse_repeated(token: object) -> NoReturn:
    raise DataError(f"a vocabulary needs distinct tokens, but {token!r} occurs twice")

"""The hash of a user: FNV-1a by hand, the same for an integer and its text, even over partitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pl = pytest.importorskip("polars")

from lightning_croloss.data.partitions.hashing import hashes, partitions_of  # noqa: E402

WORD = 2**64
#: The hash of "a".
FIXED = 0x2C0BDBF481420F8


def by_hand(token: str) -> int:
    """Compute the hash byte by byte, with Python's integers."""
    found = 0xCBF29CE484222325
    for byte in token.encode():
        found = (found ^ byte) * 0x100000001B3 % WORD
    found = (found ^ found >> 30) * 0xBF58476D1CE4E5B9 % WORD
    found = (found ^ found >> 27) * 0x94D049BB133111EB % WORD
    return found ^ found >> 31


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=9))
def test_texts(tokens: list[str]) -> None:
    given_tokens = pl.Series(tokens, dtype=pl.String)
    assert hashes(given_tokens).tolist() == [by_hand(token) for token in tokens]
    assert hashes(given_tokens[1:]).tolist() == [by_hand(token) for token in tokens[1:]]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_an_integer_counts_as_its_text(tokens: list[int]) -> None:
    texts = partitions_of(pl.Series(list(map(str, tokens))), 7)
    assert partitions_of(pl.Series(tokens), 7).tolist() == texts.tolist()


def test_the_values_are_fixed() -> None:
    # what lies in folders that were divided before
    assert partitions_of(pl.Series(["", "a", "user 1", "é"]), 64).tolist() == [
        by_hand(token) % 64 for token in ("", "a", "user 1", "é")
    ]
    assert hashes(pl.Series(["a"])).tolist() == [by_hand("a")] == [FIXED]


def test_partitions_are_even() -> None:
    counts = np.bincount(partitions_of(pl.Series(range(64_000)), 64))
    assert counts.min() > 850
    assert counts.max() < 1150

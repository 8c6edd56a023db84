"""Vocabularies: tokens of text and of integers, and the ids that they get."""

import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.errors import DataError


def test_vocabulary_round_trip_and_unknown_tokens():
    vocabulary = Vocabulary(["b", "a", "c"])
    assert len(vocabulary) == 3
    assert vocabulary.tokens == ["b", "a", "c"]
    assert vocabulary.encode(["a", "x", "b", ""]).tolist() == [2, 0, 1, 0]
    assert vocabulary.encode(["a"]).dtype == np.int64
    assert vocabulary.decode([2, 0, 1]) == ["a", "", "b"]
    assert vocabulary.decode(torch.tensor([3])) == ["c"]
    assert vocabulary.encode([]).shape == (0,)
    assert all(type(token) is str for token in vocabulary.tokens)


def test_integer_tokens_stay_integers():
    vocabulary = Vocabulary(np.array([10, 9, -3], dtype=np.int32))
    assert vocabulary.integers
    assert vocabulary.tokens == [10, 9, -3]
    assert all(type(token) is int for token in [*vocabulary.tokens, *vocabulary.decode([1, 2, 3])])
    assert vocabulary.encode([9, 10, -3, 7]).tolist() == [2, 1, 3, 0]
    assert vocabulary.encode(np.array([9, 200], dtype=np.uint8)).tolist() == [2, 0]
    # their decimal text finds them, other texts do not
    assert vocabulary.encode(["9", "-3", "09", "9.0", "+9", "", "9" * 30]).tolist() == [2, 3, 0, 0, 0, 0, 0]
    assert vocabulary.encode([9.5, 9.0]).tolist() == [0, 0]
    assert Vocabulary([10, 9]) != Vocabulary(["10", "9"])
    assert Vocabulary([10, 9]).fingerprint() == Vocabulary(["10", "9"]).fingerprint()  # as it always was
    with pytest.raises(DataError, match="but 7 occurs twice"):
        Vocabulary([7, 7])


def test_integers_of_64_bits():
    large = Vocabulary(np.array([2**64 - 1, 2**53 + 1, 2**53], dtype=np.uint64))
    assert large.tokens == [2**64 - 1, 2**53 + 1, 2**53]
    assert Vocabulary(large.tokens) == large  # plain integers bring it back
    assert large.encode([2**53]).tolist() == [3]
    assert large.encode(np.array([-1], dtype=np.int64)).tolist() == [0]
    assert large.encode([str(2**64 - 1)]).tolist() == [1]
    small = Vocabulary(np.array([2**53 + 1, 1], dtype=np.uint64))
    assert small.encode(np.array([2**64 - 1, 2**53 + 1, 2**53], dtype=np.uint64)).tolist() == [0, 1, 0]


def test_text_tokens_are_found_by_the_numbers_they_spell():
    assert Vocabulary(["10", "9"]).encode(np.array([9])).tolist() == [2]


def test_vocabulary_errors():
    with pytest.raises(DataError, match="'a' occurs twice"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(ValueError, match="id 4 is not in the vocabulary"):
        Vocabulary(["a", "b", "c"]).decode([4])


def test_fingerprint_depends_on_tokens_order_and_borders():
    prints = [Vocabulary(t).fingerprint() for t in (["a", "b"], ["b", "a"], ["ab"], ["a", "bc"], ["ab", "c"])]
    assert len(set(prints)) == len(prints)
    assert Vocabulary(["a", "b"]).fingerprint() == "cf6ab613e3942391"
    assert Vocabulary(["a"]) == Vocabulary(np.array(["a"]))


@pytest.mark.parametrize("make", [list, lambda tokens: np.array(tokens, dtype=object)])
def test_one_long_token_does_not_make_the_others_long(make):
    tokens = [f"item-{number}" for number in range(2_000)]
    tokens[7] = "x" * 100_000
    given = make(tokens)
    tracemalloc.start()
    vocabulary = Vocabulary(given)
    ids = vocabulary.encode(make(["unknown", *tokens, "y" * 100_000]))
    numbers = Vocabulary(range(2_000)).encode(["9" * 100_000, *map(str, range(2_000))])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids.tolist() == [0, *range(1, 2_001), 0]
    assert numbers.tolist() == [0, *range(1, 2_001)]
    assert vocabulary.decode(ids[1:-1]) == tokens
    assert peak < 20e6  # as fixed-width text 800 MB


def test_a_nul_at_the_end_is_a_letter():
    vocabulary = Vocabulary(["a", "a\0"])
    assert vocabulary.encode(["a\0", "a", "a\0\0"]).tolist() == [2, 1, 0]


def test_integers_that_no_64_bits_hold_are_text():
    vocabulary = Vocabulary([2**64, -1, 5])
    assert not vocabulary.integers
    assert vocabulary.tokens == [str(2**64), "-1", "5"]
    assert vocabulary.encode([2**64, 5]).tolist() == [1, 3]
    assert Vocabulary([5, 6]).encode([2**64, -(2**63) - 1, 6]).tolist() == [0, 0, 2]


def test_columns_of_other_libraries():
    for column in (torch.tensor([4, 2]), pd.Series([4, 2]), pl.Series([4, 2], dtype=pl.UInt64)):
        assert Vocabulary(column).tokens == [4, 2]
        assert Vocabulary([2, 4]).encode(column).tolist() == [2, 1]
    for column in (pd.Series(["b", "a"], dtype="string"), pl.Series(["b", "a"]), np.array(["b", "a"])):
        assert Vocabulary(column).tokens == ["b", "a"]
    assert Vocabulary([2, 4]).encode(np.array([[2, 4], [4, 3]])).tolist() == [[1, 2], [2, 0]]

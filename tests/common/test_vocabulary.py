"""Vocabularies: tokens of text and of integers, and the ids that they get."""

import numpy as np
import pytest
import torch

from lightning_croloss.data import Vocabulary
from lightning_croloss.errors import DataError


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

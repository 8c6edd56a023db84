"""Tokens of users of the library become ids, or are refused, without torch."""

import numpy as np
import pytest

from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.recommend.tokens import (
    all_ids_of_histories,
    allowed_ids,
    check_tokens,
    encode_tokens,
    known_ids,
)

WORDS = Vocabulary(["a", "b", "c", "d", "e"])
NUMBERS = Vocabulary([30, 10, 20])


@pytest.mark.parametrize(
    ("allow", "deny", "ids"),
    [
        (None, None, None),
        (None, [], None),
        (None, np.array(["b", "a"]), [3, 4, 5]),
        (["d", "a", "d", "unheard of"], None, [1, 4]),
        (("e", "a"), {"a", "unheard of"}, [5]),
        (None, ["unheard of"], [1, 2, 3, 4, 5]),
        ([], None, []),
    ],
)
def test_allowed_ids(allow, deny, ids):
    found = allowed_ids(WORDS, allow, deny)
    assert (found if found is None else found.tolist()) == ids


def test_allowed_ids_refuses_what_is_not_a_list_of_tokens():
    with pytest.raises(TypeError, match="allow must be a list of tokens, got 'a'"):
        allowed_ids(WORDS, "a", None)
    with pytest.raises(TypeError, match="deny must be a list of tokens, got ''"):
        allowed_ids(WORDS, None, "")
    with pytest.raises(TypeError, match="deny holds True"):
        allowed_ids(WORDS, None, [True])


@pytest.mark.parametrize(
    "tokens", [[], ["a", 3], ("a",), {"a"}, np.array([1, 2]), np.array(["a"]), [np.int32(3)]]
)
def test_lists_of_text_and_integers_are_tokens(tokens):
    assert check_tokens("histories[0]", tokens) is tokens


def test_a_history_has_an_order():
    with pytest.raises(
        TypeError, match=r"histories\[1\] must be a list of tokens, oldest first, got \{'a'\}"
    ):
        all_ids_of_histories([["a"], {"a"}], WORDS)


@pytest.mark.parametrize("tokens", ["abc", b"abc", 3, None, iter(["a"]), {"a": 1}])
def test_what_is_not_a_list_is_refused(tokens):
    with pytest.raises(TypeError, match=r"histories\[0\] must be a list of tokens, got"):
        check_tokens("histories[0]", tokens)


@pytest.mark.parametrize("token", [1.5, True, None, b"a", ["a"], np.float32(1.0)])
def test_what_is_neither_text_nor_integer_is_named(token):
    with pytest.raises(TypeError, match=r"deny holds .*: tokens must be text or integers") as caught:
        check_tokens("deny", ["a", token])
    assert repr(token) in str(caught.value)


def test_text_and_integers_may_be_mixed():
    assert encode_tokens(["c", "x", "a"], WORDS).tolist() == [3, 0, 1]
    assert encode_tokens([10, "20", "x", 40], NUMBERS).tolist() == [2, 3, 0, 0]
    assert encode_tokens([np.int64(30)], NUMBERS).tolist() == [1]
    assert encode_tokens([], WORDS).tolist() == []


def test_histories_keep_what_is_known_and_count_the_rest():
    histories = [["b", "x", "a"], [], ["x", "y"], ("e",), np.array(["a", "a"])]
    found = known_ids(all_ids_of_histories(histories, WORDS))
    assert found == ([[2, 1], [], [], [5], [1, 1]], [1, 0, 2, 0, 0])
    assert known_ids(all_ids_of_histories([], WORDS)) == ([], [])
    assert known_ids(all_ids_of_histories([["10", 30], [20]], NUMBERS)) == ([[2, 1], [3]], [0, 0])


def test_histories_that_are_not_lists_of_lists_are_refused():
    for histories in ("ab", {"a": ["b"]}, None):
        with pytest.raises(TypeError, match=f"a list of lists .*{type(histories).__name__}"):
            all_ids_of_histories(histories, WORDS)
    with pytest.raises(TypeError, match=r"histories\[1\] must be a list of tokens, got 'b'"):
        all_ids_of_histories([["a"], "b"], WORDS)
    with pytest.raises(TypeError, match=r"histories\[1\] holds 1\.5"):
        all_ids_of_histories([["a"], ["b", 1.5]], WORDS)

"""Allowed items, the popular fallback and what is recommended to each user, without torch."""

import numpy as np
import pytest

from croloss_serving import ItemTable, UserRecommendations
from croloss_serving.common.list_length import check_n
from croloss_serving.common.vocabulary import Vocabulary
from croloss_serving.recommend.lists import UserLists, user_recommendations
from croloss_serving.recommend.popular import PopularItems
from croloss_serving.recommend.users import UserKnowledge

WORDS = Vocabulary(["a", "b", "c", "d", "e"])
HISTORIES_ONLY = UserKnowledge("a model", False, False, True, None)
ITEMS = ItemTable(WORDS, np.array([3, 9, 0, 9, 4]), ["A", "B", "C", "D", "E"])


@pytest.mark.parametrize(
    ("n", "allowed", "ids"),
    [(3, None, [2, 4, 5]), (5, None, [2, 4, 5, 1, 3]), (2, [1, 4, 5], [4, 5]), (4, [3], [3]), (4, [], [])],
)
def test_popular_items(n, allowed, ids):
    found, counts = PopularItems(
        ITEMS, allowed if allowed is None else np.array(allowed, dtype=np.int64)
    ).best(n)
    assert found.tolist() == ids
    assert counts.tolist() == [[3, 9, 0, 9, 4][i - 1] for i in ids]
    assert counts.dtype == np.float32


def test_without_training_events_nothing_is_popular():
    ids, counts = PopularItems(ItemTable(WORDS)).best(3)
    assert (len(ids), len(counts)) == (0, 0)


def ranked(ids, scores):
    return np.array(ids), np.array(scores, dtype=np.float32)


def test_nothing_stands_behind_the_last_item():
    found = user_recommendations(ITEMS, ranked([4, 1, 0], [0.5, 0.25, -np.inf]), unknown=2)
    assert found == UserRecommendations(["d", "a"], ["D", "A"], [0.5, 0.25], 2, False)
    found = user_recommendations(ItemTable(WORDS), ranked([0], [-np.inf]))
    assert found == UserRecommendations([], None, [], 0, False)


def test_the_fallback_is_for_histories_of_which_nothing_is_known():
    best = [ranked([3], [0.5]), ranked([1], [0.75])]
    found = UserLists(ITEMS, HISTORIES_ONLY, 1, True, None)([[1, 2], []], [0, 4], [0, 0], best)
    assert found == [
        UserRecommendations(["c"], ["C"], [0.5], 0, False),
        UserRecommendations(["b"], ["B"], [9.0], 4, True),
    ]


@pytest.mark.parametrize(
    ("needs_users", "uses_history", "answered"),
    [(False, True, [True, True, True, False]), (True, False, [True, True, False, False])],
)
def test_a_known_user_is_answered_without_a_history(needs_users, uses_history, answered):
    knowledge = UserKnowledge("a model", True, needs_users, uses_history, Vocabulary(["u", "v"]))
    best = [ranked([3], [0.5])] * 4
    found = UserLists(ITEMS, knowledge, 1, True, None)([[1], [], [2], []], [0] * 4, [1, 2, 0, 0], best)
    assert [not user.fallback for user in found] == answered
    assert [user.unknown_user for user in found] == [False, False, True, True]
    assert all(
        user.tokens == (["c"] if known else user.tokens) for user, known in zip(found, answered, strict=True)
    )


@pytest.mark.parametrize(("exclude_history", "tokens"), [(True, ["e", "a"]), (False, ["b", "d"])])
def test_popular_items_leave_out_the_history_as_the_models_do(exclude_history, tokens):
    knowledge = UserKnowledge("a model", True, True, False, WORDS)
    found = UserLists(ITEMS, knowledge, 2, exclude_history, None)([[2, 4, 2]], [0], [0], [ranked([3], [0.5])])
    assert found[0].tokens == tokens


def test_check_n():
    check_n(1, 5)
    check_n(5, 5)
    for n in (0, 6):
        with pytest.raises(ValueError, match=f"n must be in 1 … 5, the number of items, got {n}"):
            check_n(n, 5)


@pytest.mark.parametrize("n", [1.5, 3.0, "3", None, True, np.float32(2)])
def test_a_number_of_items_is_an_integer(n):
    with pytest.raises(TypeError, match="n must be an integer, got"):
        check_n(n, 5)
    for whole in (3, np.int32(3)):
        check_n(whole, 5)

"""Allowed items, the popular fallback and what is recommended to each user, without torch."""

import numpy as np
import pytest

from lightning_croloss.common.vocabulary import Vocabulary
from lightning_croloss.recommend import ItemTable, UserRecommendations
from lightning_croloss.recommend.lists import check_n, popular_items, user_recommendations, with_fallback

WORDS = Vocabulary(["a", "b", "c", "d", "e"])
ITEMS = ItemTable(WORDS, np.array([3, 9, 0, 9, 4]), ["A", "B", "C", "D", "E"])


@pytest.mark.parametrize(
    ("n", "allowed", "ids"),
    [(3, None, [2, 4, 5]), (5, None, [2, 4, 5, 1, 3]), (2, [1, 4, 5], [4, 5]), (4, [3], [3]), (4, [], [])],
)
def test_popular_items(n, allowed, ids):
    found, counts = popular_items(ITEMS, n, allowed if allowed is None else np.array(allowed, dtype=np.int64))
    assert found.tolist() == ids
    assert counts.tolist() == [[3, 9, 0, 9, 4][i - 1] for i in ids]
    assert counts.dtype == np.float32


def test_without_training_events_nothing_is_popular():
    ids, counts = popular_items(ItemTable(WORDS), 3, None)
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
    found = with_fallback(ITEMS, [[1, 2], []], [0, 4], best, ranked([2], [9.0]))
    assert found == [
        UserRecommendations(["c"], ["C"], [0.5], 0, False),
        UserRecommendations(["b"], ["B"], [9.0], 4, True),
    ]


def test_check_n():
    check_n(1, 5)
    check_n(5, 5)
    for n in (0, 6):
        with pytest.raises(ValueError, match=f"n must be in 1 … 5, the number of items, got {n}"):
            check_n(n, 5)

import numpy as np
import pytest

from lightning_croloss.data import Predefined
from tests.data.table.tables import EVENTS, dropped
from tests.data_for_tests import token_sequences


def test_values(make):
    module = make(value_column="rating", min_value=4)
    assert token_sequences(module) == {"u": ["b", "b", "b"], "v": ["c"]}
    assert dropped(module) == {"value": 3}
    assert module.report.steps[0].reason == "rating not at least 4"
    assert token_sequences(make(value_column="rating", min_value=2, max_value=4)) == {
        "u": ["a", "b"],
        "v": ["c"],
        "w": ["a"],
    }


def test_time_window(make):
    module = make(time_from=2, time_until=5.5)
    assert token_sequences(module) == {"u": ["b", "b"], "v": ["a", "c"]}
    assert dropped(module) == {"time": 3}
    columns = {**EVENTS, "timestamp": [f"2024-01-0{time}" for time in EVENTS["timestamp"]]}
    module = make(columns, time_from="2024-01-02", time_until="2024-01-06T00:00")
    assert token_sequences(module) == {"u": ["b", "b"], "v": ["a", "c"]}


@pytest.mark.parametrize(
    ("keep", "expected", "times"),
    [
        ("all", ["a", "b", "b", "b"], [1, 2, 3, 6]),
        ("first", ["a", "b"], [1, 2]),
        ("last", ["a", "b"], [1, 6]),
    ],
)
def test_duplicates(make, keep, expected, times):
    module = make(duplicates=keep)
    assert token_sequences(module)["u"] == expected
    assert module.interactions.times[: len(times)].tolist() == times
    assert token_sequences(module)["v"] == ["a", "c"]


def test_consecutive_repeats(make):
    columns = {"user_id": ["u"] * 6 + ["v"], "item_id": list("aabbaaa"), "timestamp": range(7)}
    module = make(columns, consecutive_repeats=False)
    assert token_sequences(module) == {"u": ["a", "b", "a"], "v": ["a"]}
    assert dropped(module) == {"consecutive_repeats": 3}


def test_minimum_counts_once_and_repeated(make):
    # without c, user v has one event left; without v, item a has one left
    columns = {"user_id": list("uuuvvww"), "item_id": list("bbaacbb"), "timestamp": range(7)}
    assert token_sequences(make(columns, min_user_interactions=2)) == {
        "u": ["b", "b", "a"],
        "v": ["a", "c"],
        "w": ["b", "b"],
    }
    module = make(columns, min_user_interactions=2, min_item_interactions=2)
    assert token_sequences(module) == {"u": ["b", "b", "a"], "w": ["b", "b"]}
    module = make(columns, min_user_interactions=2, min_item_interactions=2, k_core=True)
    assert token_sequences(module) == {"u": ["b", "b"], "w": ["b", "b"]}
    assert dropped(module) == {"min_interactions": 3}


def test_k_core_as_a_naive_loop(make):
    random = np.random.default_rng(0)
    users, items = random.integers(0, 40, 300), (random.random(300) ** 2 * 60).astype(int)
    module = make(
        {"user_id": users, "item_id": items, "timestamp": 0},
        min_user_interactions=5,
        min_item_interactions=4,
        k_core=True,
    )
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    while True:
        of_users, of_items = ([pair[side] for pair in pairs] for side in (0, 1))
        kept = [(u, i) for u, i in pairs if of_users.count(u) >= 5 and of_items.count(i) >= 4]
        if kept == pairs:
            break
        pairs = kept
    expected = {}
    for user, item in pairs:
        expected.setdefault(user, []).append(item)
    assert 0 < len(pairs) < 300
    assert token_sequences(module) == dict(sorted(expected.items()))


def test_filters_run_in_the_stated_order(make):
    columns = {
        "user_id": ["u"] * 6,
        "item_id": ["a", "a", "b", "a", None, "a"],
        "timestamp": [5, 4, 3, 2, 1, 0],
        "rating": [1, 5, 5, 5, 5, 5],
    }
    module = make(
        columns,
        value_column="rating",
        min_value=2,
        time_from=1,
        duplicates="last",
        consecutive_repeats=False,
        drop_missing=True,
        min_item_interactions=1,
        min_user_interactions=2,
    )
    # the last "a" has too small a value, so the one before it stays
    assert token_sequences(module) == {"u": ["b", "a"]}
    assert module.interactions.times.tolist() == [3, 4]
    assert dropped(module) == {
        "drop_missing": 1,
        "value": 1,
        "time": 1,
        "duplicates": 1,
        "consecutive_repeats": 0,
        "min_interactions": 0,
    }


def test_duplicates_and_repeats_see_the_parts_in_order(make):
    columns = {"user_id": "u", "item_id": list("abab"), "timestamp": [0, 1, 2, 3], "fold": list("eeta")}
    split = Predefined("t", "a", "e", column="fold")
    module = make(columns, split=split, duplicates="first")
    assert token_sequences(module) == {"u": ["a", "b"]}
    assert module.interactions.parts.tolist() == [0, 1]

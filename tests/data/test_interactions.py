import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data import Interactions, Vocabulary
from lightning_croloss.errors import DataError


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(-2, 2)), min_size=1, max_size=40),
    st.booleans(),
)
def test_sorted_by_user_and_time_and_stable(events, with_times):
    users, items, times = (list(column) for column in zip(*events, strict=True))
    data = Interactions.from_columns(users, items, np.array(times) if with_times else None)
    for user in set(users):
        mine = [(i, t) for u, i, t in events if u == user]
        if with_times:
            mine.sort(key=lambda event: event[1])  # Python's sort is stable
        number = int(data.user_vocabulary.encode([user])[0])
        begin, stop = data.user_offsets[number], data.user_offsets[number + 1]
        assert data.item_vocabulary.decode(data.items[begin:stop]) == [i for i, _ in mine]
        assert (data.users[begin:stop] == number).all()
        if with_times:
            assert data.times is not None
            assert data.times[begin:stop].tolist() == [t for _, t in mine]
    assert data.user_offsets.shape == (data.num_users + 2,)
    assert data.user_offsets[:2].tolist() == [0, 0]
    assert int(data.user_offsets[-1]) == len(data) == len(events)


def test_ids_do_not_depend_on_the_order_of_rows():
    one = Interactions.from_columns(["u", "v"], ["b", "a"])
    two = Interactions.from_columns(["v", "u"], ["a", "b"])
    assert one.item_vocabulary == two.item_vocabulary
    assert torch.equal(one.items, two.items)


def test_times_stay_exact():
    nanoseconds = 1_700_000_000_000_000_001
    data = Interactions.from_columns(["u", "u"], ["later", "now"], np.array([nanoseconds + 1, nanoseconds]))
    assert data.times.dtype == torch.int64
    assert data.item_vocabulary.decode(data.items) == ["now", "later"]
    data = Interactions.from_columns(["u"], ["i"], np.array([881250949.0]))
    assert data.times.dtype == torch.float64
    days = np.array(["2024-01-02", "2024-01-01"], dtype="datetime64[D]")
    assert Interactions.from_columns(["u", "u"], ["b", "a"], days).items.tolist() == [1, 2]


def test_weights_follow_their_events():
    data = Interactions.from_columns(["u", "u"], ["a", "b"], [2, 1], weights=[0.5, 1.5])
    assert data.weights.dtype == torch.float32
    assert data.weights.tolist() == [1.5, 0.5]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], []), "no interactions"),
        ((["u"], ["a", "b"]), "items has 2 rows, but users has 1"),
        ((["u"], ["a"], [1, 2]), "times has 2 rows"),
        ((["u"], ["a"], None, [1, 2]), "weights has 2 rows"),
        ((["u", "u"], ["a", "b"], [1.0, float("nan")]), "times has no value in row 1"),
        ((["u"], ["a"], np.array([1], dtype=np.float32)), "times are float32"),
        ((["u"], ["a"], np.array(["NaT"], dtype="datetime64[s]")), "times has no value in row 0"),
        ((["u"], ["a"], ["noon"]), "cannot order events"),
        ((["u", None], ["a", "b"]), "users has no token in row 1"),
        ((["u"], [float("nan")]), "items has no token in row 0"),
        ((["u"], ["a"], None, [-1.0]), "weights has -1.0 in row 0"),
    ],
)
def test_unusable_columns(columns, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_columns(*columns)


def test_ids_outside_of_the_vocabulary():
    with pytest.raises(DataError, match="items has ids 0 … 1, but only 1 … 1 exist"):
        Interactions.from_ids(np.array([1, 1]), np.array([0, 1]), Vocabulary(["u"]), Vocabulary(["i"]))

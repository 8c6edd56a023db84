"""UserDisjoint against a naive loop, and each of its arguments."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.data import UserDisjoint
from lightning_croloss.errors import DataError
from tests.data.splits.cases import check_common, events, pairs


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 9), min_size=20, max_size=40),
    st.sampled_from([0.29, 0.5, 0.8]),
    st.integers(0, 3),
)
def test_user_disjoint_equals_a_loop(lengths, history, seed):
    data = events([4] * 20 + lengths)
    try:
        rows = UserDisjoint(0.6, 0.2, 0.2, history, seed).split(data)
    except DataError:  # every user of a part may have a single event
        return
    group = {}
    for name in ("train", "valid", "test"):
        for user in data.users[getattr(rows, name).first].tolist():
            assert group.setdefault(user, name) == name
    train, evaluation, seen = [], {"valid": [], "test": []}, []
    for user in range(1, data.num_users + 1):
        begin, stop = int(data.user_offsets[user]), int(data.user_offsets[user + 1])
        length = stop - begin
        if length < 2:
            assert user not in group
            seen += range(begin, stop)
        elif group[user] == "train":
            train += [(t, t + 1) for t in range(begin + 1, stop)]
            seen += range(begin, stop)
        else:
            given = min(max(round(history * 100) * length // 100, 1), length - 1)
            evaluation[group[user]].append((begin + given, stop))
    assert pairs(rows.train) == train
    assert pairs(rows.valid) == evaluation["valid"]
    assert pairs(rows.test) == evaluation["test"]
    assert rows.training_events.nonzero().squeeze(1).tolist() == seen
    assert rows.unseen_users
    check_common(data, rows)


def outcome(**arguments):
    rows = UserDisjoint(**arguments).split(events([10] * 100))
    return pairs(rows.train), pairs(rows.valid), pairs(rows.test)


def test_each_argument_of_user_disjoint_counts():
    plain = outcome()
    assert plain == outcome()
    assert [len(plain[0]), len(plain[1]), len(plain[2])] == [80 * 9, 10, 10]
    assert outcome(seed=1) != plain
    assert outcome(history=0.5)[0] == plain[0]
    assert outcome(history=0.5)[1] != plain[1]
    assert [len(part) for part in outcome(train=0.7, valid=0.2)] == [70 * 9, 20, 10]
    assert [len(part) for part in outcome(train=0.7, test=0.2)] == [70 * 9, 10, 20]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 1.2}, "train=1.2 must be a fraction"),
        ({"test": 0.0, "valid": 0.2}, "test=0.0 must be a fraction"),
        ({"history": 1.0}, "history=1.0 must be a fraction"),
        ({"train": 0.5}, "must sum to 1"),
    ],
)
def test_user_disjoint_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        UserDisjoint(**arguments)

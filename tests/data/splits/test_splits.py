import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.configurable import to_config
from lightning_croloss.data import Interactions, LeaveOneOut, UserDisjoint
from lightning_croloss.errors import DataError


def events(lengths):
    """One user for each length; items are numbered through, so that an item tells its event."""
    users = np.repeat(np.arange(len(lengths)), lengths)
    return Interactions.from_columns(users, np.arange(len(users)))


def pairs(rows):
    return list(zip(rows.first.tolist(), rows.stop.tolist(), strict=True))


def check_common(data, rows):
    for part in (rows.train, rows.valid, rows.test):
        offsets = data.user_offsets[data.users[part.first]]
        assert (part.first > offsets).all()  # a history is never empty
        assert (part.stop > part.first).all()
        assert (data.users[part.stop - 1] == data.users[part.first]).all()
    assert (rows.train.stop == rows.train.first + 1).all()
    held_out = [
        position for first, stop in pairs(rows.valid) + pairs(rows.test) for position in range(first, stop)
    ]
    assert len(held_out) == len(set(held_out))
    assert not rows.training_events[held_out].any()
    assert rows.training_events[rows.train.first].all()


@given(st.lists(st.integers(1, 7), min_size=1, max_size=12))
def test_leave_one_out_equals_a_loop(lengths):
    data = events([4, *lengths])
    rows = LeaveOneOut().split(data)
    train, valid, test, seen = [], [], [], []
    position = 0
    for length in [4, *lengths]:
        targets = list(range(position + 1, position + length))
        if len(targets) >= 3:
            valid.append(targets[-2])
        if len(targets) >= 2:
            test.append(targets[-1])
        mine = [t for t in targets if t not in valid and t not in test]
        train += mine
        seen += range(position, mine[-1] + 1) if mine else []
        position += length
    assert pairs(rows.train) == [(t, t + 1) for t in train]
    assert pairs(rows.valid) == [(t, t + 1) for t in valid]
    assert pairs(rows.test) == [(t, t + 1) for t in test]
    assert rows.training_events.nonzero().squeeze(1).tolist() == seen
    assert not rows.unseen_users
    check_common(data, rows)


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


@pytest.mark.parametrize(
    ("split", "lengths", "part"),
    [
        (LeaveOneOut(), [1, 1], "train"),
        (LeaveOneOut(), [3, 3], "valid"),
        (UserDisjoint(), [5, 5], "valid"),
        (UserDisjoint(), [1] * 50, "train"),
    ],
)
def test_parts_without_rows(split, lengths, part):
    with pytest.raises(DataError, match=f"leaves no {part} rows"):
        split.split(events(lengths))


def test_splits_can_be_kept_in_a_checkpoint():
    assert to_config(LeaveOneOut())["init_args"] == {}
    assert to_config(UserDisjoint(seed=3))["init_args"]["seed"] == 3

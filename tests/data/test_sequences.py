import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.data import Interactions, LeaveOneOut, SequenceDataset, UserDisjoint


def random_events(rng, num_users=40, weights=False):
    users = np.repeat(np.arange(num_users), rng.integers(1, 9, num_users))
    users = np.concatenate([users, np.repeat([100, 101], 6)])
    items = rng.integers(0, 15, len(users))
    return Interactions.from_columns(
        users, items, rng.integers(0, 5, len(users)), rng.random(len(users)) if weights else None
    )


def expected(data, rows, index, max_history):
    """The row by plain Python."""
    items, users = data.items.tolist(), data.users.tolist()
    first, stop = int(rows.first[index]), int(rows.stop[index])
    history = [items[e] for e in range(first) if users[e] == users[first]][-max_history:]
    targets = list(dict.fromkeys(items[first:stop]))  # a set, in the order of the events
    return [0] * (max_history - len(history)) + history, targets, users[first]


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 10), st.booleans())
def test_gather_equals_a_loop(seed, max_history, disjoint):
    rng = np.random.default_rng(seed)
    data = random_events(rng)
    rows = (UserDisjoint(0.4, 0.3, 0.3, 0.3) if disjoint else LeaveOneOut()).split(data)
    for part in (rows.train, rows.valid, rows.test):
        indices = rng.integers(0, len(part), 7).tolist()
        batch = SequenceDataset(data, part, max_history).__getitems__(indices)
        wanted = [expected(data, part, index, max_history) for index in indices]
        width = max(len(targets) for _, targets, _ in wanted)
        assert batch.history.tolist() == [history for history, _, _ in wanted]
        assert batch.targets.tolist() == [targets + [0] * (width - len(targets)) for _, targets, _ in wanted]
        assert batch.users.tolist() == [user for _, _, user in wanted]
        assert batch.history.dtype == batch.targets.dtype == batch.users.dtype == torch.int64


def test_known_positives_are_the_training_items_of_the_user():
    data = random_events(np.random.default_rng(0))
    rows = LeaveOneOut().split(data)
    dataset = SequenceDataset(data, rows.train, 3, True, rows.training_events)
    batch = dataset.__getitems__(torch.arange(len(dataset)))
    longest = 0
    for row, user in zip(batch.known_positives.tolist(), batch.users.tolist(), strict=True):
        mine = data.items[(data.users == user) & rows.training_events].tolist()
        assert row == mine + [0] * (len(row) - len(mine))
        longest = max(longest, len(mine))
    assert batch.known_positives.shape[1] == longest
    assert SequenceDataset(data, rows.train, 3, False, rows.training_events)[0].known_positives is None


def test_sample_weight_is_that_of_the_target_in_training_only():
    data = random_events(np.random.default_rng(1), weights=True)
    rows = LeaveOneOut().split(data)
    batch = SequenceDataset(data, rows.train, 3, training_events=rows.training_events).__getitems__([4, 2])
    assert torch.equal(batch.sample_weight, data.weights[rows.train.first[[4, 2]]])
    assert SequenceDataset(data, rows.test, 3)[0].sample_weight is None


def test_single_row_is_a_batch_of_one():
    data = random_events(np.random.default_rng(2))
    dataset = SequenceDataset(data, LeaveOneOut().split(data).test, 4)
    assert dataset[1].history.shape == (1, 4)
    assert torch.equal(dataset[1].history[0], dataset.__getitems__([0, 1]).history[1])
    assert sum(1 for _ in dataset) == len(dataset)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_refusals():
    data = random_events(np.random.default_rng(3))
    rows = LeaveOneOut().split(data)
    with pytest.raises(ValueError, match="max_history=0 must be at least 1"):
        SequenceDataset(data, rows.train, 0)
    with pytest.raises(ValueError, match="include_known_positives needs training_events"):
        SequenceDataset(data, rows.train, 3, include_known_positives=True)

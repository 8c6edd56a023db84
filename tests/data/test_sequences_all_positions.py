"""Training rows with a target at each position, against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.data import (
    DataRequest,
    GlobalTime,
    Interactions,
    LeaveOneOut,
    PerUserRatio,
    SequenceDataset,
    TargetRows,
    UserDisjoint,
)
from tests.data_for_tests import ClusteredData


def random_events(rng):
    users = np.concatenate([np.repeat(np.arange(30), rng.integers(1, 9, 30)), np.repeat([50, 51], 12)])
    return Interactions.from_columns(
        users, rng.integers(0, 99, len(users)), rng.integers(0, 50, len(users)), rng.random(len(users))
    )


def windows_by_loops(data, is_target, length):
    """For each window of each user: the events before its last target, and after each the target or 0."""
    rows = []
    for user in range(1, data.num_users + 1):
        start, stop = int(data.user_offsets[user]), int(data.user_offsets[user + 1])
        targets = [event for event in range(start, stop) if is_target[event]]
        last = targets[-1] if targets else -1
        while targets:
            history, following, weights = [], [], []
            for event in range(last - length, last):
                history.append(int(data.items[event]) if event >= start else 0)
                chosen = event + 1 >= start and is_target[event + 1]
                following.append(int(data.items[event + 1]) if chosen else 0)
                weights.append(float(data.weights[event + 1]) if chosen else 0.0)
            if any(following):
                rows.append((user, history, following, weights))
            last -= length
            targets = [event for event in targets if event <= last]
    return rows


SPLITS = {
    "LeaveOneOut": LeaveOneOut,
    "UserDisjoint": lambda: UserDisjoint(0.4, 0.3, 0.3, 0.3),
    "PerUserRatio": PerUserRatio,
    "GlobalTime": lambda: GlobalTime(valid=0.3, test=0.3),
    "scattered": None,  # whatever a split of one's own may choose, first events too
}


@pytest.mark.parametrize("name", sorted(SPLITS))
@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), length=st.integers(1, 10))
def test_windows_equal_loops(name, seed, length):
    rng = np.random.default_rng(seed)
    data = random_events(rng)
    if SPLITS[name] is None:
        events = torch.ones(len(data), dtype=torch.bool)
        rows = TargetRows.single(torch.from_numpy(rng.random(len(data)) < rng.uniform(0.1, 0.9)))
    else:
        split = SPLITS[name]().split(data)
        rows, events = split.train, split.training_events
    dataset = SequenceDataset(data, rows, length, True, events, all_positions=True)
    batch = dataset.__getitems__(torch.arange(len(dataset)))
    is_target = [False] * len(data)
    for event in rows.first.tolist():
        is_target[event] = True
    columns = (batch.users, batch.history, batch.targets, batch.sample_weight)
    found = zip(*(column.tolist() for column in columns), strict=True)
    assert sorted(found) == sorted(windows_by_loops(data, is_target, length))
    assert sorted(batch.targets[batch.targets != 0].tolist()) == sorted(data.items[rows.first].tolist())
    assert len(batch.known_positives) == len(dataset)


@pytest.mark.parametrize(
    "split",
    [LeaveOneOut(), UserDisjoint(0.4, 0.3, 0.3, 0.3), PerUserRatio(), GlobalTime(valid=0.3, test=0.3)],
    ids=lambda split: type(split).__name__,
)
def test_the_training_targets_of_a_user_are_its_second_event_and_those_that_follow(split):
    """Then windows lose nothing: each event but the last is in a window's history, before its target."""
    data = random_events(np.random.default_rng(0))
    first = split.split(data).train.first
    for user in range(1, data.num_users + 1):
        mine = first[data.users[first] == user].tolist()
        second = int(data.user_offsets[user]) + 1
        assert mine == list(range(second, second + len(mine)))


def test_the_loader_has_a_row_for_each_window():
    data = ClusteredData(max_history=2)  # 60 users, 5 targets of training each
    assert len(data.train_dataloader().dataset) == 300
    data.prepare_for(DataRequest(all_positions=True))
    assert len(data.train_dataloader().dataset) == 180
    assert data.train_dataloader().dataset[0].targets.shape == (1, 2)
    assert data.val_dataloader().dataset[0].targets.shape == (1, 1)

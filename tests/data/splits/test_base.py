"""What the splits share: first events as targets, parts without rows, configs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.configurable import to_config
from lightning_croloss.data import (
    DataRequest,
    GlobalTime,
    LeaveOneOut,
    PerUserRatio,
    Predefined,
    UserDisjoint,
)
from lightning_croloss.errors import DataError
from tests.data.splits.cases import Given, events, make


@pytest.mark.parametrize("split", [PerUserRatio(0.6, 0.2, 0.2), GlobalTime(6, 8), Predefined(valid=0.3)])
def test_first_events_are_targets_for_models_without_a_history(split):
    log = [(user, time) for user in range(4) for time in range(10)] + [(7, 0)]
    parts = [2 if time > 7 else 0 for _, time in log] if isinstance(split, Predefined) else None
    plain, whole = (Given(make(log, parts=parts), split, seed=0, max_history=3) for _ in range(2))
    whole.prepare_for(DataRequest(first_events=True))
    events = plain.rows.training_events
    assert plain.target_counts.sum() < events.sum()
    assert torch.equal(whole.target_counts, plain.item_counts)
    assert torch.equal(whole.train_rows.first, events.nonzero().squeeze(1))
    assert torch.equal(plain.train_rows.first, plain.rows.train.first)
    batches = list(whole.train_dataloader())
    targets = torch.cat([batch.targets.squeeze(1) for batch in batches])
    assert sorted(targets.tolist()) == sorted(whole.interactions.items[events].tolist())
    empty = torch.cat([(batch.history == 0).all(1) for batch in batches])
    assert int(empty.sum()) == whole.num_users
    for rows in ("valid", "test"):  # evaluation stays as it is
        assert torch.equal(getattr(whole.rows, rows).first, getattr(plain.rows, rows).first)


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


SPLITS = {
    "LeaveOneOut": LeaveOneOut(),
    "PerUserRatio": PerUserRatio(0.6, 0.2, 0.2),
    "UserDisjoint": UserDisjoint(0.5, 0.25, 0.25, history=0.6),
    "GlobalTime": GlobalTime(0.2, 0.2),
    "Predefined": Predefined(),
    "Predefined, drawn": Predefined(valid=0.3),
}


@pytest.mark.parametrize("name", SPLITS)
@settings(max_examples=25)
@given(st.lists(st.integers(1, 6), min_size=0, max_size=12), st.integers(0, 2**31))
def test_every_event_is_in_a_part_or_follows_nothing(name, lengths, seed):
    """For training, a target or its history; else held out with nothing of the user before it."""
    rng = np.random.default_rng(seed)
    log = [(u, int(t)) for u, n in enumerate([8] * 12 + lengths) for t in np.sort(rng.integers(0, 99, n))]
    drawn = rng.integers(0, 3, len(log)) if name == "Predefined" else 2 * rng.integers(0, 2, len(log))
    data = Given(make(log, parts=drawn if name.startswith("Predefined") else None), SPLITS[name])
    events, rows = data.interactions, data.split.assign(data.interactions)
    used = rows.training_events.clone()
    for part in (rows.valid, rows.test):
        for first, stop in zip(part.first.tolist(), part.stop.tolist(), strict=True):
            used[events.user_offsets[events.users[first]] : stop] = True
    left_out = (~used).nonzero().squeeze(1)
    if name in ("LeaveOneOut", "PerUserRatio", "UserDisjoint"):
        assert not len(left_out)
    # all that the user has before it is left out too: nothing to recommend from
    for event in left_out.tolist():
        assert not used[events.user_offsets[events.users[event]] : event].any()
        assert not rows.training_events[events.users == events.users[event]].any()
    assert data.item_counts.sum() == rows.training_events.sum()
    assert rows.training_events.sum() + len(left_out) <= len(events)


def test_an_event_of_a_user_who_has_no_more_counts_in_training():
    log = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (3, 6)]
    for split in (LeaveOneOut(), PerUserRatio(0.5, 0.25, 0.25)):
        data = Given(make(log), split)
        assert data.item_counts[-3:].tolist() == [1, 1, 1]
        data.prepare_for(DataRequest(first_events=True))
        assert data.target_counts[-3:].tolist() == [1, 1, 1]

"""What the splits share: first events as targets, parts without rows, configs."""

import pytest
import torch

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

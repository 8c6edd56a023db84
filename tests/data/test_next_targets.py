"""Targets further ahead: which events they may be, how often each comes, and what a draw follows from."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss import RecBoleDataModule, TableDataModule
from lightning_croloss.data import (
    DataRequest,
    GlobalTime,
    Interactions,
    LeaveOneOut,
    PerUserRatio,
    SequenceDataset,
    UserDisjoint,
)
from lightning_croloss.data.next_targets import NextTargets
from tests.data_for_tests import ClusteredData

SPLITS = {
    "LeaveOneOut": LeaveOneOut,
    "UserDisjoint": lambda: UserDisjoint(0.4, 0.3, 0.3, 0.3),
    "PerUserRatio": PerUserRatio,
    "GlobalTime": lambda: GlobalTime(valid=0.3, test=0.3),
}


def random_events(rng):
    """Events whose items are their own numbers, so that a target says which event it is of."""
    users = np.concatenate([np.repeat(np.arange(30), rng.integers(1, 9, 30)), np.repeat([50, 51], 12)])
    return Interactions.from_columns(
        users, np.arange(len(users)), rng.integers(0, 50, len(users)), rng.random(len(users))
    )


def allowed(data, rows, first, window):
    """The items of the targets that the one at ``first`` may be replaced by, by plain Python."""
    mine = [e for e in rows.first.tolist() if data.users[e] == data.users[first] and e >= first]
    return [int(data.items[event]) for event in sorted(mine)[:window]]


def dataset_of(data, rows, window, count, all_positions=False, epoch=(0, 0)):
    drawn = NextTargets(data, rows.train, window, count)
    drawn.begin_epoch(*epoch)
    return SequenceDataset(
        data,
        rows.train,
        5,
        training_events=rows.training_events,
        all_positions=all_positions,
        next_targets=drawn,
    )


@pytest.mark.parametrize("name", sorted(SPLITS))
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31), window=st.integers(2, 12), count=st.integers(1, 4))
def test_targets_are_different_ones_of_the_next_and_of_training_only(name, seed, window, count):
    data = random_events(np.random.default_rng(seed))
    rows = SPLITS[name]().split(data)
    count = min(count, window)
    held_out = {
        int(data.items[event])
        for part in (rows.valid, rows.test)
        for first, stop in zip(part.first.tolist(), part.stop.tolist(), strict=True)
        for event in range(first, stop)
    }
    weights = dict(zip(data.items.tolist(), data.weights.tolist(), strict=True))
    dataset = dataset_of(data, rows, window, count, epoch=(seed, 3))
    batch = dataset.__getitems__(torch.arange(len(dataset)))
    assert batch.targets.shape == (len(rows.train), count)
    plain = SequenceDataset(data, rows.train, 5).__getitems__(torch.arange(len(dataset)))
    assert torch.equal(batch.history, plain.history)
    for number, first in enumerate(rows.train.first.tolist()):
        drawn = [item for item in batch.targets[number].tolist() if item]
        possible = allowed(data, rows.train, first, window)
        assert len(drawn) == len(set(drawn)) == min(count, len(possible))
        assert set(drawn) <= set(possible)
        assert not set(drawn) & held_out
        assert batch.targets[number, len(drawn) :].tolist() == [0] * (count - len(drawn))
        found = batch.sample_weight[number].reshape(-1).tolist()
        assert found[: len(drawn)] == [pytest.approx(weights[item]) for item in drawn]
        assert found[len(drawn) :] == [0.0] * (count - len(drawn))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31), window=st.integers(2, 9), count=st.integers(1, 3))
def test_windows_have_the_same_draws_as_single_rows(seed, window, count):
    data = random_events(np.random.default_rng(seed))
    rows, count = LeaveOneOut().split(data), min(count, window)
    single = dataset_of(data, rows, window, count)
    batch = single.__getitems__(torch.arange(len(single)))
    by_event = {
        first: (batch.targets[number].tolist(), batch.sample_weight[number].reshape(-1).tolist())
        for number, first in enumerate(rows.train.first.tolist())
    }
    windows = dataset_of(data, rows, window, count, all_positions=True)
    batch = windows.__getitems__(torch.arange(len(windows)))
    assert batch.targets.shape == batch.history.shape + ((count,) if count > 1 else ())
    targets = batch.targets.reshape(*batch.history.shape, count)
    weights = batch.sample_weight.reshape(*batch.history.shape, count)
    seen = 0
    for number, last in enumerate(windows.rows.first.tolist()):
        width = batch.history.shape[1]
        for position in range(width):
            event = last - width + 1 + position
            if event in by_event and data.users[event] == data.users[last]:
                expected = by_event[event]
                seen += 1
            else:
                expected = [0] * count, [0.0] * count
            assert targets[number, position].tolist() == expected[0]
            assert weights[number, position].tolist() == expected[1]
    assert seen == len(by_event)  # each in one window


def test_draws_are_uniform_and_new_in_each_epoch():
    data = Interactions.from_columns(np.zeros(8, int), np.arange(8))
    rows = LeaveOneOut().split(data)  # five targets of training, those of events 1 … 5
    for count in (1, 2):
        seen = Counter()
        for epoch in range(1000):
            batch = dataset_of(data, rows, 3, count, epoch=(7, epoch)).__getitems__([0, 3, 4])
            for row, drawn in enumerate(batch.targets.tolist()):
                seen.update((row, item) for item in drawn if item)
        expected = {(0, 2): 3, (0, 3): 3, (0, 4): 3, (1, 5): 2, (1, 6): 2, (2, 6): 1}
        assert seen.keys() == expected.keys()
        for (row, item), choices in expected.items():
            share = min(1.0, count / choices)
            assert seen[row, item] / 1000 == pytest.approx(share, abs=0.06), (row, item)


@pytest.mark.parametrize(("window", "count"), [(2, 1), (3, 2), (50, 5)])
def test_expected_counts_are_the_mean_of_many_epochs(window, count):
    rng = np.random.default_rng(4)
    users = np.repeat(np.arange(6), [3, 4, 5, 6, 7, 9])
    data = Interactions.from_columns(users, rng.integers(0, 5, len(users)))
    rows = LeaveOneOut().split(data)
    drawn = NextTargets(data, rows.train, window, count)
    total = torch.zeros(data.num_items + 1, dtype=torch.float64)
    for epoch in range(1000):
        drawn.begin_epoch(0, epoch)
        events = drawn.draw(rows.train.first)
        total += torch.bincount(data.items[events[events >= 0]], minlength=data.num_items + 1)
    expected = drawn.expected_counts(data.items, data.num_items)
    assert expected[0] == 0
    torch.testing.assert_close(total / 1000, expected, atol=0.2, rtol=0)


# ---------------------------------------------------------------------- the data modules


def data_of(**arguments):
    return ClusteredData(max_history=4, seed=3, **arguments)


def drawn_targets(module, epochs=2, all_positions=False):
    """For each epoch the targets of each history, a history being told by user and length."""
    module.prepare_for(DataRequest(all_positions=all_positions))
    loader, found = module.train_dataloader(), []
    for _ in range(epochs):
        epoch = {}
        for batch in loader:
            for user, history, targets in zip(batch.users, batch.history, batch.targets, strict=True):
                whole = tuple(item for item in history.tolist() if item)
                epoch[int(user), whole] = targets.tolist()
        found.append(epoch)
    return found


@pytest.mark.parametrize("all_positions", [False, True])
def test_draws_follow_from_seed_and_epoch_and_not_from_the_batches(all_positions):
    def of(**arguments):
        return drawn_targets(data_of(target_window=4, **arguments), all_positions=all_positions)

    first, second = of(batch_size=7)
    assert first.keys() == second.keys()
    assert first != second  # another epoch
    assert of(batch_size=7) == [first, second]
    if not all_positions:  # else the width of a batch is that of its longest
        assert of(batch_size=16, group_by_length=True) == [first, second]
    other = ClusteredData(max_history=4, seed=4, target_window=4, batch_size=7)
    assert drawn_targets(other, all_positions=all_positions) != [first, second]


def test_processes_draw_what_one_process_draws():
    module = data_of(target_window=4, targets_per_history=2, batch_size=5)
    (whole,) = drawn_targets(module, epochs=1)
    shared = {}
    for rank in range(2):
        loader = module.train_dataloader()
        loader.rank, loader.world_size = rank, 2
        for batch in loader:
            for user, history, targets in zip(batch.users, batch.history, batch.targets, strict=True):
                shared[int(user), tuple(i for i in history.tolist() if i)] = targets.tolist()
    assert len(shared) == len(whole)
    assert shared == whole


def test_a_loader_that_is_resumed_in_the_middle_draws_on():
    module = data_of(target_window=4, batch_size=9)
    loader = module.train_dataloader()
    list(loader)
    batches = list(loader)  # the second epoch
    begun = module.train_dataloader()
    list(begun)
    iterator = iter(begun)
    for _ in range(3):
        next(iterator)
    resumed = ClusteredData(max_history=4, seed=99, target_window=4, batch_size=9).train_dataloader()
    resumed.load_state_dict(begun.state_dict())
    left = list(resumed)
    assert len(left) == len(batches) - 3
    for one, other in zip(left, batches[3:], strict=True):
        assert torch.equal(one.history, other.history)
        assert torch.equal(one.targets, other.targets)


def test_the_next_target_is_the_default():
    module = data_of()
    assert (module.target_window, module.targets_per_history) == (1, 1)
    assert module.target_counts.dtype == torch.int64
    assert next(iter(module.train_dataloader())).targets.shape[1] == 1
    wide = data_of(target_window=3, targets_per_history=2)
    assert float(wide.target_counts.sum()) == pytest.approx(60 * (2 * 4 + 1))  # one of the last
    assert next(iter(wide.train_dataloader())).targets.shape[1] == 2


@pytest.mark.parametrize("part", ["valid", "test"])
def test_evaluation_has_the_targets_of_the_split(part):
    wide, plain = data_of(target_window=3, targets_per_history=2), data_of()
    for one, other in zip(
        wide.evaluation_loader(part, DataRequest()), plain.evaluation_loader(part, DataRequest()), strict=True
    ):
        assert torch.equal(one.targets, other.targets)
        assert torch.equal(one.history, other.history)


def test_first_events_are_drawn_for_models_without_histories():
    module = data_of(target_window=3)
    module.prepare_for(DataRequest(first_events=True))
    batches = list(module.train_dataloader())
    assert sum(len(batch.users) for batch in batches) == 60 * 6
    assert float(module.target_counts.sum()) == pytest.approx(60 * 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_window": 0}, "target_window=0 must be at least 1"),
        ({"targets_per_history": 0}, "targets_per_history=0 must be at least 1"),
        (
            {"target_window": 2, "targets_per_history": 3},
            "targets_per_history=3 must be at most target_window=2: they are drawn out of it",
        ),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        data_of(**arguments)


def test_both_data_modules_take_the_fields(tmp_path):
    pytest.importorskip("polars", reason="needs the extra [table]")
    lines = ["user_id,item_id,timestamp"]
    lines += [f"{user},{(3 * user + step) % 11},{step}" for user in range(12) for step in range(6)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    module = TableDataModule(str(tmp_path / "x.csv"), target_window=3, targets_per_history=2)
    assert next(iter(module.train_dataloader())).targets.shape[1] == 2
    found = RecBoleDataModule(target_window=5, targets_per_history=3)
    assert (found.target_window, found.targets_per_history) == (5, 3)

"""PerUserRatio, GlobalTime and Predefined, which give each event a part, against naive loops."""

import math
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.configurable import to_config
from lightning_croloss.data import (
    DataRequest,
    GlobalTime,
    Interactions,
    PerUserRatio,
    Predefined,
    RetrievalDataModule,
    SequenceDataset,
)
from lightning_croloss.errors import DataError

logs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=40)  # user, time


def make(log, **columns):
    """Events whose items are numbered through, so that an item tells its event."""
    users, times = (np.array(column) for column in zip(*log, strict=True))
    return Interactions.from_columns(users, np.arange(len(users)), times, **columns)


def naive_rows(data, part_of):
    """Rows, training events and whether users are unseen, by a loop; ``part_of``: part of each event."""
    rows = {0: [], 1: [], 2: []}
    training, unseen = [], False
    for user in range(1, data.num_users + 1):
        mine = [event for event in range(len(data)) if data.users[event] == user]
        training += [event for event in mine if part_of[event] == 0]
        rows[0] += [(event, event + 1) for event in mine[1:] if part_of[event] == 0]
        for part in (1, 2):
            targets = [event for event in mine if part_of[event] == part]
            if targets and targets[0] != mine[0]:
                assert targets == list(range(targets[0], targets[-1] + 1))
                rows[part].append((targets[0], targets[-1] + 1))
                unseen |= all(part_of[event] != 0 for event in mine)
    return [*rows.values(), training, unseen]


def as_lists(rows):
    parts = (rows.train, rows.valid, rows.test)
    pairs = [list(zip(part.first.tolist(), part.stop.tolist(), strict=True)) for part in parts]
    return [*pairs, rows.training_events.nonzero().squeeze(1).tolist(), rows.unseen_users]


def check(data, rows, past_of_history=True):
    """What holds for every split."""
    held_out = [
        event
        for part in (rows.valid, rows.test)
        for first, stop in zip(part.first.tolist(), part.stop.tolist(), strict=True)
        for event in range(first, stop)
    ]
    targets = rows.train.first.tolist()
    assert len(set(held_out + targets)) == len(held_out) + len(targets)  # disjoint
    assert not rows.training_events[held_out].any()
    assert rows.training_events[targets].all()
    for part in (rows.train, rows.valid, rows.test):
        assert (data.users[part.stop - 1] == data.users[part.first]).all()
        begin = data.user_offsets[data.users[part.first]]
        assert (part.first > begin).all()  # every history holds something
        if past_of_history and data.times is not None:
            for low, first, stop in zip(begin.tolist(), part.first.tolist(), part.stop.tolist(), strict=True):
                assert data.times[low:first].max() <= data.times[first:stop].min()


@settings(deadline=None)
@given(logs, st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.2, 0.3), (0.42, 0.29, 0.29)]))
def test_per_user_ratio_equals_a_loop(log, fractions):
    data = make(log)
    rows = PerUserRatio(*fractions).assign(data)
    part_of = []
    for user in range(1, data.num_users + 1):
        length = int((data.users == user).sum())
        counts = {part: math.floor(round(100 * fractions[part]) * length / 100) for part in (1, 2)}
        for part in (2, 1):
            if counts[part] == 0 and length - sum(counts.values()) > 1:
                counts[part] = 1
        part_of += [0] * (length - sum(counts.values())) + [1] * counts[1] + [2] * counts[2]
    assert as_lists(rows) == naive_rows(data, part_of)
    assert not rows.unseen_users
    check(data, rows)


@settings(deadline=None)
@given(
    logs,
    st.one_of(st.sampled_from([0.1, 0.3, 0.6]), st.integers(1, 8), st.floats(1, 8)),
    st.one_of(st.sampled_from([0.1, 0.3]), st.integers(2, 9)),
    st.sampled_from([np.int64, np.float64]),
)
def test_global_time_equals_a_loop(log, valid, test, dtype):
    log = [(user, dtype(time)) for user, time in log]
    data = make(log)
    times = sorted(time for _, time in log)

    def begin(value, stop):
        if value < 1:
            return times[max(stop - max(round(value * len(times)), 1), 0)]
        return math.ceil(value) if dtype is np.int64 else value

    begin_test = begin(test, len(times))
    begin_valid = begin(valid, sum(time < begin_test for time in times))
    if not times[0] < begin_valid < begin_test <= times[-1]:
        with pytest.raises(DataError, match="GlobalTime: "):
            GlobalTime(valid, test).assign(data)
        return
    part_of = [int(time >= begin_valid) + int(time >= begin_test) for time in data.times.tolist()]
    rows = GlobalTime(valid, test).assign(data)
    assert as_lists(rows) == naive_rows(data, part_of)
    check(data, rows)
    training = data.times[rows.training_events]
    evaluated = torch.cat([rows.valid.first, rows.test.first])
    if len(training) and len(evaluated):
        assert training.max() < data.times[evaluated].min()


@settings(deadline=None)
@given(logs, st.data(), st.booleans())
def test_predefined_equals_a_loop(log, draw, with_times):
    parts = draw.draw(st.lists(st.integers(0, 2), min_size=len(log), max_size=len(log)))
    users, times = zip(*log, strict=True)
    data = Interactions.from_columns(
        np.array(users), np.arange(len(log)), np.array(times) if with_times else None, parts=parts
    )
    # user, part, time, place in the file
    expected = sorted(range(len(log)), key=lambda e: (users[e], parts[e], times[e] if with_times else 0, e))
    assert [int(token) for token in data.item_vocabulary.decode(data.items)] == expected
    assert data.parts.tolist() == [parts[event] for event in expected]
    split = Predefined()
    assert split.arrange(data) is data
    rows = split.assign(data)
    assert as_lists(rows) == naive_rows(data, data.parts.tolist())
    check(data, rows, past_of_history=False)


@settings(deadline=None)
@given(logs, st.data(), st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.integers(0, 3))
def test_predefined_draws_validation_from_training(log, draw, fraction, seed):
    parts = draw.draw(st.lists(st.sampled_from([0, 2]), min_size=len(log), max_size=len(log)))
    data = make(log, parts=parts, weights=np.arange(len(log)) + 0.5)
    split = Predefined(valid=fraction, seed=seed)
    arranged = split.arrange(data)
    assert torch.equal(arranged.items, split.arrange(data).items)
    assert torch.equal(arranged.users, data.users)
    # weights and times still belong to their items, and each part of a user is in the order of time
    event = torch.tensor([int(token) for token in data.item_vocabulary.decode(arranged.items)])
    assert torch.equal(arranged.weights, event + 0.5)
    assert arranged.times.tolist() == [log[e][1] for e in event.tolist()]
    assert sorted(event.tolist()) == list(range(len(log)))
    for user in range(1, data.num_users + 1):
        mine = arranged.users == user
        before, after = data.parts[data.users == user], arranged.parts[mine]
        assert (after == 2).sum() == (before == 2).sum()
        known = int((before == 0).sum())
        assert int((after == 1).sum()) == min(math.floor(known * fraction + 0.5), max(known - 1, 0))
        keys = list(zip(after.tolist(), arranged.times[mine].tolist(), strict=True))
        assert keys == sorted(keys)
    check(arranged, split.assign(arranged), past_of_history=False)


def test_the_drawing_follows_seed_and_is_fair():
    data = Interactions.from_columns(np.repeat(np.arange(50), 20), np.arange(1000), parts=[0] * 1000)
    drawn = [Predefined(valid=0.1, seed=seed).arrange(data) for seed in range(40)]
    chosen = [frozenset(one.items[one.parts == 1].tolist()) for one in drawn]
    assert len(set(chosen)) == len(chosen)
    assert {len(items) for items in chosen} == {100}
    positions = torch.cat([data.positions[one.items[one.parts == 1] - 1] for one in drawn])
    counts = torch.bincount(positions, minlength=20)
    assert ((counts - 200).abs() < 60).all()  # each place of a history as often as any other


DATES = np.datetime64("2024-01-01") + np.repeat(np.arange(10), 2).astype("timedelta64[D]")


def dated():
    return Interactions.from_columns(np.tile([0, 1], 10), np.arange(20), DATES)


def test_global_time_with_dates():
    plain = as_lists(GlobalTime("2024-01-07", "2024-01-09").split(dated()))
    assert plain[1:3] == [[(6, 8), (16, 18)], [(8, 10), (18, 20)]]
    assert plain == as_lists(GlobalTime("2024-01-07T00:00:00Z", "2024-01-09 02:00+02:00").split(dated()))
    assert plain == as_lists(GlobalTime("2024-01-06T12:30", 0.2).split(dated()))
    later = as_lists(GlobalTime("2024-01-07T00:00:01", "2024-01-09").split(dated()))
    assert later[1] == [(7, 8), (17, 18)]
    assert as_lists(GlobalTime("2024-01-07", "2024-01-10").split(dated()))[2] == [(9, 10), (19, 20)]


def test_large_whole_times_are_compared_exactly():
    start = 1_700_000_000_000_000_001
    data = make([(0, start + step) for step in range(6)])
    rows = GlobalTime(start + 3, start + 5).split(data)
    assert as_lists(rows)[1:3] == [[(3, 5)], [(5, 6)]]
    small = make([(0, time) for time in range(16_777_215, 16_777_221)])  # beyond what float32 tells apart
    assert as_lists(GlobalTime(16_777_217.5, 16_777_219.5).split(small))[1:3] == [[(3, 5)], [(5, 6)]]


def test_users_of_evaluation_may_be_unseen():
    log = [(0, 0), (0, 1), (0, 5), (0, 8), (1, 5), (1, 8)]
    assert GlobalTime(5, 8).split(make(log)).unseen_users
    assert not GlobalTime(5, 8).split(make(log[:4])).unseen_users
    # a new user of whom nothing can be asked is none
    assert not GlobalTime(5, 8).split(make([*log[:4], (1, 8), (1, 9)])).unseen_users


@pytest.mark.parametrize(
    ("arguments", "columns", "message"),
    [
        ({}, {"times": None}, "GlobalTime needs times"),
        ({"valid": 5, "test": 5}, {}, "valid=5 begins at 5, not before test=5 at 5"),
        (
            {"valid": 5, "test": 9.5},
            {},
            "test=9.5 must lie after the first event, at 0, and not after the last",
        ),
        ({"valid": 0, "test": 5}, {}, "valid=0 must lie after the first event, at 0"),
        ({"valid": 5, "test": "2024-01-03"}, {}, r"numbers, 0 … 9: .*since 1970 the date is 1704240000"),
        ({"test": 5}, {"times": DATES[::2]}, "test=5 is a number, but the times are dates"),
        (
            {"valid": "2024-01-05", "test": "2024-02-01"},
            {"times": DATES[::2]},
            "first event, at 2024-01-01T00:00:00, and not after the last, at 2024-01-10T00:00:00",
        ),
    ],
)
def test_times_that_do_not_fit(arguments, columns, message):
    columns = {"users": [0] * 10, "items": np.arange(10), "times": np.arange(10), **columns}
    with pytest.raises(DataError, match=message):
        GlobalTime(**arguments).split(Interactions.from_columns(**columns))


@pytest.mark.parametrize(
    ("split", "arguments", "message"),
    [
        (PerUserRatio, {"train": 0.5}, "must sum to 1"),
        (PerUserRatio, {"train": 1.0}, "train=1.0 must be a fraction"),
        (GlobalTime, {"valid": 0.5, "test": 0.5}, "leave nothing for training"),
        (
            GlobalTime,
            {"valid": "yesterday"},
            "valid='yesterday' must be a fraction, a number, or an ISO date",
        ),
        (GlobalTime, {"test": float("nan")}, "test=nan must be"),
        (Predefined, {"valid": 1.5}, "valid=1.5 must be a fraction"),
        (Predefined, {"test": "train"}, "must be different"),
    ],
)
def test_unusable_arguments(split, arguments, message):
    with pytest.raises(ValueError, match=message):
        split(**arguments)


def test_predefined_needs_parts():
    data = make([(0, 1), (0, 2)])
    for split in (Predefined(), Predefined(valid=0.5)):
        with pytest.raises(DataError, match="Predefined needs data that says the part"):
            split.arrange(data)
        with pytest.raises(DataError, match="Predefined needs data that says the part"):
            split.split(data)
    with pytest.raises(DataError, match="has a validation part"):
        Predefined(valid=0.5).arrange(make([(0, 1), (0, 2)], parts=[0, 1]))
    with pytest.raises(DataError, match="leaves no valid rows"):
        Predefined().split(make([(0, 1), (0, 2), (0, 3)], parts=[0, 0, 2]))
    with pytest.raises(ValueError, match="in the order training, validation, test"):
        GlobalTime(4, 6).assign(make([(0, time) for time in range(8)], parts=[2, 0, 0, 0, 1, 0, 0, 0]))


def test_predefined_names():
    assert Predefined().names == {0: "train", 1: "valid", 2: "test"}
    assert Predefined(train=0, valid=0.1, test=1, column="fold").names == {0: "0", 2: "1"}
    assert Predefined(valid=0.1).fraction == 0.1
    assert Predefined(valid=1, train=0).fraction is None


@pytest.mark.parametrize("parts", [[0, 3], [0, -1], [0, 0.5]])
def test_parts_that_do_not_exist(parts):
    with pytest.raises(DataError, match=rf"parts has {parts[1]} in row 1: write 0 for training"):
        Interactions.from_columns(["u", "u"], ["a", "b"], parts=parts)
    with pytest.raises(DataError, match="parts has 1 rows, but users has 2"):
        Interactions.from_columns(["u", "u"], ["a", "b"], parts=[0])


def test_each_argument_counts():
    rng = np.random.default_rng(0)
    data = make(list(zip(rng.integers(0, 9, 200), rng.integers(0, 99, 200), strict=True)), parts=[0] * 200)
    cases = {
        PerUserRatio: [{}, {"train": 0.7, "valid": 0.2}, {"train": 0.7, "test": 0.2}],
        GlobalTime: [{}, {"valid": 0.2}, {"test": 0.2}, {"valid": 50}, {"test": 95}],
    }
    for split, arguments in cases.items():
        with_parts = Interactions.from_columns(data.users.numpy(), data.items.numpy(), data.times.numpy())
        outcomes = [str(as_lists(split(**given).assign(with_parts))) for given in arguments]
        assert len(set(outcomes)) == len(outcomes)
    assert to_config(GlobalTime("2024-01-01", 0.3))["init_args"] == {"valid": "2024-01-01", "test": 0.3}
    assert to_config(Predefined(valid=0.2, seed=4, column="c"))["init_args"]["column"] == "c"


class Given(RetrievalDataModule):
    """A data module with the events that it is given."""

    def __init__(self, events, split, **kwargs):
        super().__init__(split, **kwargs)
        self.events = events

    def load(self):
        return self.events


def test_the_data_module_draws_the_validation_part():
    data = Given(
        make([(user, time) for user in range(3) for time in range(10)], parts=[*[0] * 9, 2] * 3),
        Predefined(valid=0.3),
    )
    assert data.interactions.parts.tolist() == [*[0] * 6, *[1] * 3, 2] * 3
    batch = next(iter(data.val_dataloader()))
    assert batch.targets.shape == (3, 3)
    test = next(iter(data.test_dataloader()))
    assert (test.history != 0).sum(1).tolist() == [9] * 3  # training and validation events
    assert int(data.item_counts.sum()) == 18
    assert int(data.target_counts.sum()) == 15


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


@settings(deadline=None)
@given(logs, st.data())
def test_known_positives_and_counts_are_of_training_events(log, draw):
    parts = draw.draw(st.lists(st.integers(0, 2), min_size=len(log), max_size=len(log)))
    data = make(log, parts=parts)
    rows = Predefined().assign(data)
    if not len(rows.train):
        return
    batch = SequenceDataset(data, rows.train, 3, True, rows.training_events).__getitems__(
        range(len(rows.train))
    )
    for user, known in zip(batch.users.tolist(), batch.known_positives.tolist(), strict=True):
        mine = data.items[(data.users == user) & (data.parts == 0)].tolist()
        assert [item for item in known if item] == mine
    module = Given(data, Predefined())
    module.rows = rows
    assert module.item_counts.sum() == parts.count(0)


def test_iso_dates_are_read_as_python_does():
    data = dated()
    when = datetime(2024, 1, 7) + timedelta(hours=1)
    assert as_lists(GlobalTime(when.isoformat(), 0.1).split(data))[1] == [(7, 9), (17, 19)]

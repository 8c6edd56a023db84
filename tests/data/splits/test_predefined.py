"""Predefined against a naive loop, and the validation part that it draws."""

import logging
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.configurable import to_config
from lightning_croloss.data import GlobalTime, Interactions, Predefined, SequenceDataset
from lightning_croloss.data.recipients import Recipients
from lightning_croloss.errors import DataError
from tests.data.splits.cases import Given, as_lists, check, logs, make, naive_rows


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


@given(logs, st.data(), st.booleans(), st.booleans())
def test_a_note_says_whose_history_is_served_in_another_order(log, draw, with_times, drawn):
    parts = draw.draw(st.lists(st.sampled_from([0, 2] if drawn else [0, 1, 2]), min_size=len(log)))
    parts = [*parts, *[0] * len(log)][: len(log)]
    users, times = zip(*log, strict=True)
    data = Interactions.from_columns(
        np.array(users), np.arange(len(log)), np.array(times) if with_times else None, parts=parts
    )
    split = Predefined(valid=0.4) if drawn else Predefined()
    arranged = split.arrange(data)
    served = Recipients.of(arranged, None).interactions  # as predict and recommend have it
    assert torch.equal(arranged.users, served.users)
    times = [0] * len(log) if arranged.times is None else arranged.times.tolist()
    order = zip(arranged.users.tolist(), times, strict=True)
    others = {user for (user, time), (same, later) in pairwise(order) if user == same and later < time}
    note = split.note_on(arranged)
    assert (note is None) == (not others)
    if note is not None:
        assert note.startswith(f"Predefined: the parts of {len(others)} of {data.num_users} users overlap")
        assert arranged.items.tolist() != served.items.tolist()


def test_the_data_module_tells_the_note(caplog):
    for parts, told in (([0, 1, 2] * 2, 0), ([2, 1, 0] * 2, 1)):
        events = Interactions.from_columns([1, 1, 1, 2, 2, 2], [*range(6)], [*range(6)], parts=parts)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            Given(events, split=Predefined()).interactions  # noqa: B018
        assert caplog.text.count("the parts of 2 of 2 users overlap in time; their histories") == told


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"valid": 1.5}, "valid=1.5 must be a fraction"),
        ({"test": "train"}, "must be different"),
    ],
)
def test_unusable_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Predefined(**arguments)


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
    assert to_config(Predefined(valid=0.2, seed=4, column="c"))["init_args"]["column"] == "c"


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

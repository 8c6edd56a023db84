"""Events and naive loops for the splits."""

import numpy as np
from hypothesis import strategies as st

from lightning_croloss.data import Interactions, RetrievalDataModule

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


class Given(RetrievalDataModule):
    """A data module with the events that it is given."""

    def __init__(self, events, split, **kwargs):
        super().__init__(split, **kwargs)
        self.events = events

    def load(self):
        return self.events


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

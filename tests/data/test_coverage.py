"""Evaluation histories that hold nothing that training saw: counted as by a loop, and reported."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data import Interactions, UserDisjoint, Vocabulary
from lightning_croloss.data.coverage import count_unseen_histories
from lightning_croloss.data.splits import TargetRows
from tests.data_for_tests import ClusteredData, fit, small_model


@given(
    events=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=20),
    seen=st.lists(st.booleans(), min_size=4, max_size=4),
    max_history=st.integers(1, 4),
)
def test_counted_as_by_a_loop(events, seen, max_history):
    users, items = (torch.tensor(column).numpy() for column in zip(*events, strict=True))
    data = Interactions.from_ids(users, items, Vocabulary(list("abc")), Vocabulary(list("wxyz")))
    counts = torch.tensor([0, *seen]).long()
    rows = TargetRows(torch.arange(len(data)), torch.arange(len(data)) + 1)
    expected = 0
    for first in range(len(data)):
        before = [place for place in range(first) if data.users[place] == data.users[first]][-max_history:]
        expected += bool(before) and not any(counts[data.items[place]] for place in before)
    assert count_unseen_histories(data, rows, counts, max_history) == expected


class PrivateItems(ClusteredData):
    """The users of validation have items of their own."""

    def load(self):
        data = super().load()
        # the others share the first 30 items
        items = torch.where(self.private[data.users], (data.items - 1) % 10 + 31, data.items % 30 + 1)
        return Interactions.from_ids(
            data.users.numpy(), items.numpy(), data.user_vocabulary, data.item_vocabulary
        )

    @property
    def private(self):
        return UserDisjoint(history=0.5)._groups(self.size[0]) == 1


def test_a_fit_warns_of_them():
    data = PrivateItems(split=UserDisjoint(history=0.5))
    with pytest.warns(UserWarning, match="6 of 6 validation histories hold only items unseen in training"):
        fit(small_model(), data)


def test_no_warning_where_there_is_nothing_to_warn_of(recwarn):
    fit(small_model(), ClusteredData())
    assert not [warning for warning in recwarn if "unseen in training" in str(warning.message)]

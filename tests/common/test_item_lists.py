"""ItemLists: the lists of rows, padded or not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from croloss_serving.common import blocks
from lightning_croloss.common.item_lists import ItemLists, blocks_of, rows_of

LISTS = st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=6)


def lists_of(given_lists, rows=None):
    values = torch.tensor([item for one in given_lists for item in one], dtype=torch.int64)
    offsets = torch.tensor([0, *map(len, given_lists)], dtype=torch.int64).cumsum(0)
    return ItemLists(values, offsets, None if rows is None else torch.tensor(rows, dtype=torch.int64))


def plain(padded):
    return [[item for item in row if item] for row in padded.tolist()]


@given(LISTS, st.data())
def test_rows_come_back_however_they_are_chosen_and_padded(given_lists, data):
    rows = data.draw(st.lists(st.integers(0, len(given_lists) - 1), max_size=8)) if given_lists else []
    found = lists_of(given_lists, rows)
    expected = [given_lists[row] for row in rows]
    assert len(found) == len(rows)
    assert found.lengths.tolist() == [len(one) for one in expected]
    assert found.first().tolist() == [one[0] if one else 0 for one in expected]
    for left in (False, True):
        padded = found.padded(left)
        assert padded.shape == (len(rows), max(map(len, expected), default=0))
        assert plain(padded) == expected
        if padded.numel():
            edge = padded[:, -1] if left else padded[:, 0]
            assert edge.tolist() == [(one[-1] if left else one[0]) if one else 0 for one in expected]
    assert plain(ItemLists.of_padded(found.padded()).padded()) == expected
    assert plain(found[1:3].padded()) == expected[1:3]
    assert plain(found.to("cpu").padded()) == expected


@given(LISTS, st.integers(0, 3), st.data())
def test_lists_with_more_of_each_row(given_lists, width, data):
    rows = data.draw(st.lists(st.integers(0, len(given_lists) - 1), max_size=8)) if given_lists else []
    more = torch.arange(10, 10 + len(rows) * width, dtype=torch.int32).view(len(rows), width)
    found = lists_of(given_lists, rows).joined(more)
    expected = [given_lists[row] + own for row, own in zip(rows, more.tolist(), strict=True)]
    assert plain(found.padded()) == expected
    assert len(found.values) == sum(map(len, expected))
    assert found.values.dtype == torch.int64


def test_ranges_of_a_column_and_their_lists():
    found = ItemLists.of_ranges(torch.arange(10), torch.tensor([2, 9, 4]), torch.tensor([5, 9, 6]))
    assert found.padded().tolist() == [[2, 3, 4], [0, 0, 0], [4, 5, 0]]
    assert found.list_of_value.tolist() == [0, 0, 0, 2, 2]


def test_only_what_would_waste_memory_stays_lists(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_ENTRIES", 20)
    usual = lists_of([[1, 2]] * 10)
    assert isinstance(usual.compact(), torch.Tensor)
    assert isinstance(lists_of([[1] * 30] * 10).compact(), torch.Tensor)  # padding adds nothing
    heavy = lists_of([*[[1, 2]] * 9, [3] * 30])
    assert heavy.compact() is heavy
    shared = lists_of([[4] * 30], [0] * 10)  # ten rows of one list
    assert shared.compact() is shared
    for block in blocks_of([heavy, shared]):
        assert (block.stop - block.start) == 1 or heavy[block].padded().numel() <= 20


@pytest.mark.parametrize("most", [4, 2**20])
def test_rows_that_come_again(monkeypatch, most):
    monkeypatch.setattr(blocks, "MOST_ENTRIES", most)
    padded, rows = torch.tensor([[1, 2, 0], [3, 0, 0]]), torch.tensor([1, 0, 0, 1])
    for ids in (padded, ItemLists.of_padded(padded)):
        found = rows_of(ids, rows)
        found = found.padded() if isinstance(found, ItemLists) else found
        assert plain(found) == [[3], [1, 2], [1, 2], [3]]

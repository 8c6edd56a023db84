"""Accidental hits, in a mask and by tile, against comparing every pair in a loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.common.counting_ids import counting_ids
from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.losses.batches import accidental_hits
from lightning_croloss.losses.batches.accidental_hits import AccidentalHits, hit_mask, hit_pairs
from lightning_croloss.losses.batches.tile_hits import ComparedHits, hits_by_tile


def naive_mask(candidate_ids, target_ids=None, excluded_ids=None, rows=1):
    """Return the (B, M) mask by comparing every pair."""
    rows = len(candidate_ids) if candidate_ids.dim() == 2 else rows
    result = []
    for i in range(rows):
        ids = (candidate_ids[i] if candidate_ids.dim() == 2 else candidate_ids).tolist()
        ignored = {0}
        if target_ids is not None:
            ignored.add(target_ids[i].item())
        if excluded_ids is not None:
            ignored.update(excluded_ids[i].tolist())
        result.append([item in ignored for item in ids])
    return torch.tensor(result, dtype=torch.bool).reshape(rows, -1)


@settings(max_examples=200, derandomize=True)
@given(data=st.data())
def test_the_mask_equals_comparing_every_pair(data):
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 8))

    # 0 is padding, and else an id may be any integer
    numbers = data.draw(st.sampled_from([range(10), range(-9, 10), [0, -(2**63), -(2**62), 5, 2**63 - 1]]))

    def ids(*shape, largest=9):
        count = torch.Size(shape).numel()
        some = st.sampled_from([*numbers, *range(10, largest + 1)])
        drawn = data.draw(st.lists(some, min_size=count, max_size=count))
        return torch.tensor(drawn, dtype=torch.long).reshape(shape)

    candidate_ids = ids(columns) if data.draw(st.booleans()) else ids(rows, columns)
    target_ids = data.draw(st.sampled_from([None, ids(rows)]))
    # larger ids than any candidate's too
    excluded_ids = data.draw(st.sampled_from([None, ids(rows, data.draw(st.integers(0, 5)), largest=14)]))
    mask = hit_mask(candidate_ids, target_ids, excluded_ids)
    assert mask.shape in ((columns,), (rows, columns))
    assert torch.equal(mask.expand(rows, columns), naive_mask(candidate_ids, target_ids, excluded_ids, rows))
    if excluded_ids is not None:
        lists = ItemLists.of_padded(excluded_ids)
        assert torch.equal(
            hit_mask(candidate_ids, target_ids, lists).expand(rows, columns), mask.expand(rows, columns)
        )


@st.composite
def shared_ids(draw):
    """Draw candidates, sampled or the whole catalogue, with ids of rows to compare them with."""
    rows, columns = draw(st.integers(1, 7)), draw(st.integers(1, 9))

    def ids(*shape, largest=9):
        count = torch.Size(shape).numel()
        drawn = draw(st.lists(st.integers(0, largest), min_size=count, max_size=count))
        return torch.tensor(drawn, dtype=torch.long).reshape(shape)

    candidate_ids = ids(columns) if draw(st.booleans()) else torch.arange(1, columns + 1)
    target_ids = draw(st.sampled_from([None, ids(rows)]))
    excluded_ids = draw(st.sampled_from([None, ids(rows, draw(st.integers(0, 5)), largest=14)]))
    return rows, candidate_ids, target_ids, excluded_ids


@settings(max_examples=300, derandomize=True)
@given(case=shared_ids(), tile_rows=st.integers(1, 8), width=st.integers(1, 11), as_lists=st.booleans())
@pytest.mark.parametrize("finder", [AccidentalHits, ComparedHits])
@pytest.mark.slow
def test_tile_by_tile_equals_comparing_every_pair(finder, case, tile_rows, width, as_lists):
    rows, candidate_ids, target_ids, excluded_ids = case
    if as_lists and excluded_ids is not None:
        # rows that share a list, as those of one user do
        owners = torch.arange(rows) % max(1, rows - 2)
        excluded_ids = excluded_ids[owners]
        given = ItemLists.of_padded(excluded_ids[: max(1, rows - 2)])[owners]
    else:
        given = excluded_ids
    hits = finder(candidate_ids, target_ids, given, tile_rows, width)
    found = torch.zeros(rows, len(candidate_ids))
    for block, row in enumerate(range(0, rows, tile_rows)):
        for tile, column in enumerate(range(0, len(candidate_ids), width)):
            scores = found[row : row + tile_rows, column : column + width].contiguous()
            hits.ignore(scores, block, tile, -7.0)
            found[row : row + tile_rows, column : column + width] = scores
    expected = naive_mask(candidate_ids, target_ids, excluded_ids, rows)
    assert torch.equal(found, -7.0 * expected)


def test_negative_ids_of_one_list_are_not_those_of_another():
    lists = ItemLists(torch.tensor([9, -8]), torch.tensor([0, 1, 2]))
    candidate_ids = torch.tensor([[9, -8, 2, -1], [9, -8, 2, -1]])
    assert hit_mask(candidate_ids, None, lists).tolist() == [
        [True, False, False, False],
        [False, True, False, False],
    ]


def test_only_a_processor_lists_them():
    on_cpu, elsewhere = (
        hits_by_tile(torch.arange(3, device=device), None, None, 2, 2) for device in ("cpu", "meta")
    )
    assert (type(on_cpu), type(elsewhere)) == (AccidentalHits, ComparedHits)


@settings(max_examples=200, derandomize=True)
@given(case=shared_ids())
def test_pairs_are_those_of_a_loop(case):
    rows, candidate_ids, _, excluded_ids = case
    listed = torch.zeros(rows, 0, dtype=torch.long) if excluded_ids is None else excluded_ids
    found = zip(*(entry.tolist() for entry in hit_pairs(candidate_ids, listed)), strict=True)
    expected = [
        (row, column)
        for row in range(rows)
        for item in listed[row].tolist()
        for column, candidate in enumerate(candidate_ids.tolist())
        if item == candidate != 0
    ]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_may_be_of_another_integer_type(dtype):
    candidate_ids, listed = torch.tensor([4, 0, 2, 4], dtype=dtype), torch.tensor([[2, 0], [4, 9]])
    row, column = hit_pairs(candidate_ids, listed)
    assert sorted(zip(row.tolist(), column.tolist(), strict=True)) == [(0, 2), (1, 0), (1, 3)]


@pytest.mark.parametrize("offset", [0, -6, 10**12])
def test_a_table_of_all_ids_finds_the_pairs_of_a_search(offset):
    # a table is used where ids begin at 0 and are no more than the ids to look up
    generator = torch.Generator().manual_seed(0)
    candidate_ids = torch.randint(1, 40, (30,), generator=generator) + offset
    listed = torch.randint(-5, 60, (20, 9), generator=generator) + offset
    listed[0] = 0
    found = sorted(zip(*(entry.tolist() for entry in hit_pairs(candidate_ids, listed)), strict=True))
    assert found == sorted(
        (row, column)
        for row, wanted in enumerate(listed.tolist())
        for item in wanted
        for column, candidate in enumerate(candidate_ids.tolist())
        if item == candidate != 0
    )


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [1, 3, 6, 7, 20])
def test_a_catalogue_is_known_piece_by_piece(monkeypatch, size, first):
    monkeypatch.setattr(accidental_hits, "_PIECE", 3)
    ids = torch.arange(first, first + size, dtype=torch.int32)
    assert accidental_hits._first_of_catalogue(ids) == first
    for place in range(1, size - 1):
        assert accidental_hits._first_of_catalogue(ids.index_fill(0, torch.tensor([place]), 0)) is None


def test_ids_that_were_made_to_count_are_not_compared_again(monkeypatch):
    find, asked = accidental_hits._find_first, []
    monkeypatch.setattr(accidental_hits, "_find_first", lambda ids: asked.append(1) or find(ids))
    for first in (0, 1):
        ids = counting_ids(first, 9, torch.device("cpu"))
        assert [accidental_hits._first_of_catalogue(ids) for _ in range(3)] == [first] * 3
    assert not asked
    ids[4] = 0
    assert accidental_hits._first_of_catalogue(ids) is None
    assert accidental_hits._first_of_catalogue(counting_ids(2, 3, ids.device)) is None
    assert accidental_hits._first_of_catalogue(counting_ids(1, 0, ids.device)) is None


@pytest.mark.parametrize("way", ["numpy", "data", "dlpack"])
def test_a_callers_ids_may_change_unseen(way):
    """Memory that others share changes without a word to PyTorch."""
    shared = np.arange(1, 7)
    ids = torch.from_numpy(shared) if way == "numpy" else torch.arange(1, 7)
    targets = torch.tensor([[2], [5]])
    assert sorted(zip(*map(torch.Tensor.tolist, hit_pairs(ids, targets)), strict=True)) == [(0, 1), (1, 4)]
    changed = {"numpy": lambda: shared, "data": lambda: ids.data, "dlpack": lambda: torch.from_dlpack(ids)}
    changed[way]()[1] = 5
    assert sorted(zip(*map(torch.Tensor.tolist, hit_pairs(ids, targets)), strict=True)) == [(1, 1), (1, 4)]

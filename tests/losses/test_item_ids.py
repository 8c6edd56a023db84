"""padding_id: ids from 0, ids with padding of one's own, ids that are any integers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.losses import CROLoss
from lightning_croloss.losses.batches.item_ids import inner_ids

N, D, B, M = 30, 4, 6, 25


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1), st.data())
def test_inner_ids_keep_equality_and_nothing_but_padding_is_zero(ids, data):
    given_ids = torch.tensor(ids)
    padding = data.draw(st.sampled_from([None, 0, *ids]))
    inner = inner_ids(given_ids, padding)
    assert torch.equal(inner[:, None] == inner, given_ids[:, None] == given_ids)
    assert torch.equal(inner == 0, given_ids == padding if padding is not None else inner != inner)
    lists = ItemLists(given_ids, torch.tensor([0, len(ids)]))
    if padding is None:
        assert torch.equal(inner_ids(lists, padding).values, inner)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64])
def test_the_largest_id_of_a_narrow_type(dtype):
    largest = torch.iinfo(dtype).max if dtype != torch.int64 else 2**40
    assert inner_ids(torch.tensor([largest, 0], dtype=dtype), None).tolist() == [largest + 1, 1]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("padding", [None, -1, 0, 7])
def test_a_loss_does_not_depend_on_how_items_are_numbered(fused, padding):
    """The numbering 1 … N with 0 for padding, and others: the same value."""
    generator = torch.Generator().manual_seed(3)
    users, positives = torch.randn(2, B, D, generator=generator)
    candidates = torch.randn(M, D, generator=generator)
    target, candidate_ids, excluded = (
        torch.randint(low, N + 1, shape, generator=generator)
        for low, shape in ((1, (B,)), (0 if padding is not None else 1, (M,)), (1, (B, 3)))
    )
    names = torch.randperm(10 * N, generator=generator)[: N + 1] - 50
    if padding == 0:  # then items are 1 … num_items
        names = torch.cat([torch.zeros(1, dtype=torch.long), torch.randperm(N, generator=generator) + 1])
    elif padding is not None:
        names[names == padding] = 1000
        names[0] = padding
    loss = CROLoss("exp", num_items=N, fused=fused)

    def value(rename, padding_id):
        return loss.from_embeddings(
            users,
            positives,
            candidates,
            target_ids=rename[target],
            candidate_ids=rename[candidate_ids],
            excluded_ids=rename[excluded],
            padding_id=padding_id,
        )

    torch.testing.assert_close(value(names, padding), value(torch.arange(N + 1), 0))


@pytest.mark.parametrize("fused", [False, True])
def test_class_indices_from_zero(fused):
    """Item 0 is a negative like any other, and its own row's positive is none."""
    table = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    users = torch.randn(B, D, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 5, 0, 29, 7, 5])
    loss = CROLoss("exp", temperature=1.0, fused=fused)
    value = loss.from_embeddings(
        users,
        table[target],
        table,
        target_ids=target,
        candidate_ids=torch.arange(N),
        padding_id=None,
    )
    torch.testing.assert_close(value, torch.nn.functional.cross_entropy(users @ table.T, target))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("padding", [None, 0])
def test_narrow_ids_of_more_candidates_than_they_can_count(dtype, padding):
    """Columns and rows are counted in 64 bits, whatever type the ids have."""
    generator = torch.Generator().manual_seed(3)
    users, positives = torch.randn(2, 300, D, generator=generator)
    candidates = torch.randn(700, D, generator=generator)
    target, candidate_ids, excluded = (
        torch.randint(1, 120, shape, generator=generator) for shape in ((300,), (700,), (300, 3))
    )
    values = []
    for fused in (False, True):
        for kind in (torch.int64, dtype):
            ids = {"target_ids": target, "candidate_ids": candidate_ids, "excluded_ids": excluded}
            ids = {name: value.to(kind) for name, value in ids.items()}
            loss = CROLoss("softplus", temperature=2.0, fused=fused)
            values.append(loss.from_embeddings(users, positives, candidates, padding_id=padding, **ids))
    torch.testing.assert_close(torch.stack(values), values[0].expand(4))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
@pytest.mark.parametrize("number", [B, N])
def test_counts_are_looked_up_by_narrow_ids(dtype, number):
    users, items = torch.randn(2, B, D, generator=torch.Generator().manual_seed(3))
    ids, counts = torch.tensor([0, 1, 1, 2, 0, 3]), torch.arange(1, number + 1)
    loss = CROLoss("softplus", temperature=2.0)
    expected = loss.in_batch(users, items, item_ids=ids, item_counts=counts)
    assert loss.in_batch(users, items, item_ids=ids.to(dtype), item_counts=counts) == expected

"""Pooling of a history against plain loops."""

import pytest
import torch

from lightning_croloss.models.layers import POOLINGS, pool_events, pool_history


@pytest.mark.parametrize("how", POOLINGS)
def test_pooling_equals_a_loop(how):
    mask = torch.rand(20, 5) < 0.5
    mask[0], mask[1] = False, True
    embeddings = torch.randn(20, 5, 3)
    pooled = pool_history(embeddings, mask, how)
    for row in range(20):
        events = [embeddings[row, position] for position in range(5) if mask[row, position]]
        expected = torch.zeros(3)
        for column in range(3):
            values = [float(event[column]) for event in events]
            if values:
                total = sum(values)
                expected[column] = {"mean": total / len(values), "sum": total, "max": max(values)}[how]
        assert torch.allclose(pooled[row], expected, atol=1e-6)


@pytest.mark.parametrize("how", POOLINGS)
def test_an_empty_history_has_a_finite_gradient(how):
    embeddings = torch.randn(2, 3, 4, requires_grad=True)
    pool_history(embeddings, torch.tensor([[False] * 3, [True] * 3]), how).sum().backward()
    assert torch.isfinite(embeddings.grad).all()
    assert not embeddings.grad[0].any()


@pytest.mark.parametrize("how", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_events_in_a_row_pool_to_what_padded_histories_pool_to(how, dtype):
    mask = torch.tensor([[False, True, True], [False, False, False], [True, True, True]])
    events = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = pool_events(events[mask], mask.nonzero()[:, 0], 3, how)
    assert found.dtype == dtype
    torch.testing.assert_close(found, pool_history(events, mask, how))


@pytest.mark.parametrize("lengths", [[3, 0, 70, 1], [0, 0, 0, 0]])
def test_the_sum_of_events_is_that_of_index_add_to_the_last_bit(lengths):
    rows = torch.arange(4).repeat_interleave(torch.tensor(lengths))
    events = torch.randn(len(rows), 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = torch.zeros(4, 32).index_add(0, rows, events)
    weight = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((expected * weight).sum(), events)
    found = pool_events(events, rows, 4, "sum")
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad((found * weight).sum(), events)[0], gradient)

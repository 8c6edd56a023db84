"""Pooling of a history against plain loops."""

import pytest
import torch

from lightning_croloss.models.layers import POOLINGS, pool_history


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

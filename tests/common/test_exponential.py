"""exp in place, as precise as PyTorch's."""

import pytest
import torch

from lightning_croloss.common.exponential import exp_


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_it_is_the_exponential(dtype, relative):
    x = torch.linspace(-8.0, 8.0, 4_001, dtype=dtype)
    found = x.clone()
    assert exp_(found) is found
    torch.testing.assert_close(found.double(), x.double().exp(), rtol=relative, atol=0.0)


def test_its_ends_are_exact():
    found = exp_(torch.tensor([0.0, -1e30, float("-inf"), float("inf"), float("nan")]))
    assert found[:4].tolist() == [1.0, 0.0, 0.0, float("inf")]
    assert found[4].isnan()

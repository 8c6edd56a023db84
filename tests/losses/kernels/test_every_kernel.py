"""Every kernel against its formula."""

import pytest
import torch

from lightning_croloss.losses import KERNELS
from tests.losses import oracle
from tests.losses.cases import ALL_KERNELS, TRAINABLE

TAU = torch.tensor(0.4, dtype=torch.float64)
DIFFERENCES = torch.linspace(-6, 6, 241, dtype=torch.float64)


@pytest.mark.parametrize("name", ALL_KERNELS)
def test_value_equals_the_formula_and_increases(name):
    kernel = ALL_KERNELS[name]()
    values = kernel.value(DIFFERENCES, TAU)
    formula = oracle.KERNEL_FORMULAS[kernel.name][0]
    expected = torch.tensor([formula(kernel, d, TAU.item()) for d in DIFFERENCES.tolist()]).double()
    torch.testing.assert_close(values, expected, rtol=1e-6, atol=1e-30)
    assert (values >= 0).all()
    assert (values.diff() >= 0).all()


@pytest.mark.parametrize("name", ALL_KERNELS)
def test_log_value_is_the_logarithm(name):
    kernel = ALL_KERNELS[name]()
    values = kernel.value(DIFFERENCES, TAU)
    torch.testing.assert_close(kernel.log_value(DIFFERENCES, TAU), values.log(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["exp", "softplus", "sigmoid", "psl_tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_value_goes_on_where_the_value_underflows(name, dtype):
    far = torch.tensor([-1e4, -2e4], dtype=dtype, requires_grad=True)
    logarithms = KERNELS[name]().log_value(far, TAU.to(dtype))
    (gradient,) = torch.autograd.grad(logarithms.sum(), far)
    assert logarithms.isfinite().all()
    torch.testing.assert_close(gradient, torch.full_like(gradient, 1 / TAU.item()))


@pytest.mark.parametrize("name", TRAINABLE)
def test_only_bounded_kernels_are_flat_on_both_sides(name):
    kernel = TRAINABLE[name]()
    far = torch.tensor([-1e3, 1e3], dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(kernel.value(far, torch.ones(()).double()).sum(), far)[0]
    assert slope[0].abs() < 1e-5
    assert (slope[1] < 1e-5).item() == kernel.bounded

"""Products and kernels that a sweep must cope with."""

import pytest
import torch

from lightning_croloss.losses import (
    CROLoss,
    ExponentialKernel,
    Kernel,
    PowerImportance,
)
from lightning_croloss.losses.fused import block
from tests.losses.cases import TRAINABLE, assert_same, other_kernel
from tests.losses.fused.cases import (
    QUIET,
    N,
    assert_fused_is_naive,
    option_sets,
    outcome,
    vectors,
)

pytestmark = QUIET
OPTIONS = option_sets()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_with_a_product_of_another_library(small_tiles, monkeypatch, kernel, options):
    asked = []

    def fast_product(like, rows):
        asked.append(rows)
        return lambda a, b: a @ b.T

    monkeypatch.setattr(block, "fast_product", fast_product)
    loss = CROLoss(TRAINABLE[kernel](), None, 0.4, 0.6, other_kernel(kernel), num_items=N)
    assert_fused_is_naive(loss, **OPTIONS[options])
    assert asked


class Cubic(Kernel):
    """A kernel of a user's, with φ alone."""

    name = "cubic"

    def value(self, difference, temperature):
        return torch.relu(difference / temperature + 1.0) ** 3


class Exponential2(Cubic):
    name = "exp2"
    sums_logarithms = True

    def log_value(self, difference, temperature):
        return 2.0 * difference / temperature


@pytest.mark.parametrize("kernel", [Cubic, Exponential2])
def test_a_new_kernel_needs_no_closed_form(small_tiles, kernel):
    loss = CROLoss(kernel(), PowerImportance(0.5), 0.4, 0.5, "sigmoid", num_items=N)
    for options in OPTIONS.values():
        assert_same(outcome(loss, True, vectors(), **options), outcome(loss, False, vectors(), **options))


class Doubled(ExponentialKernel):
    """An exponential whose slope is not its own: a mistake of a user's that must stay one."""

    def slope_(self, x, out, temperature):
        out.mul_(x.exp())


def test_only_the_exponential_itself_takes_the_place_of_its_differences(small_tiles):
    assert ExponentialKernel().is_own_slope
    assert not Doubled().is_own_slope
    gradients = []
    for kernel in (ExponentialKernel(), Doubled()):
        loss = CROLoss(kernel, None, 0.4, num_items=N, fused=True)
        (users, *others) = vectors()
        loss.from_embeddings(users, *others).backward()
        gradients.append(users.grad)
    assert not torch.equal(*gradients)

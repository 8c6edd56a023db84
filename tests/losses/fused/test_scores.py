"""The pass over a matrix of scores that is there already, as ``forward`` takes it for large ones."""

import pytest
import torch

from lightning_croloss.losses import CROLoss, PowerImportance, SoftmaxLoss
from lightning_croloss.losses.fused import score_loss, score_plan
from tests.losses.cases import LOSSES, TRAINABLE, assert_same, options, other_kernel, scores
from tests.losses.fused.cases import QUIET, N

pytestmark = QUIET


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(score_loss, "FEWEST_GIVEN_SCORES", 0)
    monkeypatch.setattr(score_plan, "BLOCK_ON_CPU", 13)  # two rows of six


def outcome(loss, positive, negative, **given):
    value = loss(positive, negative, **given)
    weight = torch.arange(1.0, value.numel() + 1, dtype=torch.float64).view(value.shape)
    gradients = torch.autograd.grad((value * weight).sum(), (positive, negative))
    return [value.detach(), *gradients, *loss.diagnostics.values()]


@pytest.mark.parametrize("given", [{}, options(), {"negative_mask": options()["negative_mask"][0]}])
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_is_the_naive_path(kernel, given):
    for reduction in ("mean", "none"):
        sides = [
            outcome(
                CROLoss(
                    TRAINABLE[kernel](),
                    PowerImportance(0.6),
                    0.3,
                    lambda_weight=0.5,
                    lambda_kernel=other_kernel(kernel),
                    num_items=N,
                    fused=fused,
                    reduction=reduction,
                ),
                *scores(),
                **given,
            )
            for fused in (None, False)
        ]
        assert_same(*sides)


@pytest.mark.parametrize("name", ["CROLoss", "SoftmaxLoss unbiased"])
def test_second_derivatives_come_from_the_operators(name):
    loss = LOSSES[name](num_items=N, reduction="none")
    inputs, given = scores(2, 3), options(2, 3)
    assert torch.autograd.gradgradcheck(lambda *x: loss(*x, **given), inputs)
    positive, negative = scores(2, 3)
    only = loss(positive.detach(), negative, **given).sum()
    (gradient,) = torch.autograd.grad(only, negative, create_graph=True)
    assert torch.autograd.grad(gradient.sum(), negative)[0].isfinite().all()


def test_rows_of_nothing_but_minus_infinity():
    positive, negative = scores()
    low = negative.masked_fill(torch.tensor([[True], [False], [True], [False]]), -torch.inf)
    for kernel in TRAINABLE:
        sides = [
            outcome(CROLoss(TRAINABLE[kernel](), fused=fused), positive, low.detach().requires_grad_())
            for fused in (None, False)
        ]
        assert all(bool(value.isfinite().all()) for value in sides[0])
        assert_same(*sides)


def test_only_what_needs_a_gradient():
    positive, negative = scores()
    loss = SoftmaxLoss()
    for inputs in ((positive, negative.detach()), (positive.detach(), negative)):
        value = loss(*inputs)
        value.backward()
        assert [entry.grad is not None for entry in inputs] == [entry.requires_grad for entry in inputs]
    assert not loss(positive.detach(), negative.detach()).requires_grad

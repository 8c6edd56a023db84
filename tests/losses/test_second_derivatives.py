"""Second derivatives of the losses: of autograd, of torch.func, and where there are none."""

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import hessian, jacrev

from lightning_croloss.losses import CROLoss, PowerImportance
from tests.losses.cases import IMPORTANCES, LOSSES, TRAINABLE

pytestmark = pytest.mark.filterwarnings("ignore:the scores of a row", "ignore:n=")
B, M, N = 2, 4, 30
#: The gradient of the Lambda method is that of no function; the threshold of SL@K counts as a constant.
WITHOUT = ("CROLoss lambda", "SLAtKLoss", "SLAtKLoss positive")


def scores(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((B,), (B, M))
    )


@pytest.mark.parametrize("rank_scaling", ["reference", "unbiased"])
@pytest.mark.parametrize("kernel", ["sigmoid", "exp", "softplus"])
@pytest.mark.parametrize("name", IMPORTANCES)
def test_of_every_importance(name, kernel, rank_scaling):
    loss = CROLoss(
        kernel,
        IMPORTANCES[name](),
        0.7,
        num_items=N,
        rank_scaling=rank_scaling,
        reduction="none",
        fused=False,
    )
    assert gradcheck(loss, scores())
    assert gradgradcheck(loss, scores())
    only_positives = scores()[0], scores()[1].detach()
    assert gradgradcheck(loss, only_positives)


@pytest.mark.parametrize("kernel", TRAINABLE)
def test_of_every_kernel(kernel):
    loss = CROLoss(TRAINABLE[kernel](), PowerImportance(0.5), 0.7, num_items=N, reduction="none")
    assert gradgradcheck(loss, scores())


@pytest.mark.parametrize("name", IMPORTANCES)
def test_of_functions(name):
    loss = CROLoss("sigmoid", IMPORTANCES[name](), 0.7, num_items=N)
    positive, negative = (part.detach() for part in scores())
    found = hessian(lambda given: loss(positive, given))(negative)
    negative.requires_grad_()
    (slope,) = torch.autograd.grad(loss(positive, negative), negative, create_graph=True)
    expected = torch.stack(
        [torch.autograd.grad(entry, negative, retain_graph=True)[0] for entry in slope.flatten()]
    )
    torch.testing.assert_close(found, expected.view(B, M, B, M))
    twice = jacrev(jacrev(lambda given: loss(positive, given)))(negative.detach())
    torch.testing.assert_close(twice, found)
    direction = torch.randn_like(slope)
    with forward_ad.dual_level():  # forward over reverse, and forward alone
        dual = forward_ad.make_dual(negative.detach(), direction).requires_grad_()
        value = loss(positive, dual)
        torch.testing.assert_close(forward_ad.unpack_dual(value).tangent, (slope * direction).sum())
        tangent = forward_ad.unpack_dual(torch.autograd.grad(value, dual)[0]).tangent
    torch.testing.assert_close(tangent, (found * direction).sum((2, 3)))


def test_of_large_scores_where_the_pass_is_another():
    loss = CROLoss("sigmoid", PowerImportance(0.5), 0.7, num_items=N)
    negative = torch.randn(4, 2**13, dtype=torch.float64, requires_grad=True)
    found = []
    for fused in (None, False):
        loss.fused = fused
        (slope,) = torch.autograd.grad(loss(torch.zeros(4), negative), negative, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), negative)[0])
    torch.testing.assert_close(*found, rtol=1e-9, atol=0.0)
    assert (found[0] != 0).any()


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize("columns", [M, 2**14])
def test_with_the_lambda_method_there_is_none(columns, fused):
    loss = CROLoss("softplus", PowerImportance(0.5), lambda_weight=0.5, num_items=2**15, fused=fused)
    positive, negative = torch.zeros(B), torch.randn(B, columns, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(positive, negative), negative, create_graph=True)
    torch.testing.assert_close(slope.detach(), torch.autograd.grad(loss(positive, negative), negative)[0])
    with pytest.raises(RuntimeError, match=r"^with lambda_weight the loss has no second derivative"):
        slope.sum().backward()
    with pytest.raises(RuntimeError, match=r"^with lambda_weight the loss has no second derivative"):
        hessian(lambda given: loss(positive[:1], given))(negative.detach()[:1, :5])


@pytest.mark.parametrize("score", [200.0, 1e4])
@pytest.mark.parametrize("name", IMPORTANCES)
def test_huge_scores_stay_finite(name, score):
    loss = CROLoss("exp", IMPORTANCES[name](), 0.1, num_items=N, fused=False)
    negative = torch.full((B, M), score, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(torch.zeros(B), negative), negative, create_graph=True)
    assert slope.isfinite().all()
    assert torch.autograd.grad(slope.sum(), negative)[0].isfinite().all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in WITHOUT])
def test_of_every_loss(name):
    loss = LOSSES[name](num_items=N, reduction="none")
    assert gradgradcheck(loss, scores())

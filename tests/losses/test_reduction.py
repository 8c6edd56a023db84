"""reduction: mean, sum, none, of every loss, on both paths."""

import pytest
import torch

from lightning_croloss.losses import BPRLoss, CROLoss, SoftmaxLoss
from tests.losses.cases import FUSED, LOSSES, options, scores
from tests.losses.fused.cases import vectors

pytestmark = pytest.mark.filterwarnings("ignore:n=")


@pytest.mark.parametrize("name", LOSSES)
def test_none_holds_the_terms_of_sum_and_mean(name):
    given = options() | {"num_sampled": torch.tensor([3, 6, 0, 5])}
    none, total, mean = (LOSSES[name](num_items=40, reduction=kind) for kind in ("none", "sum", "mean"))
    rows = none(*scores(), **given)
    assert rows.shape == (4,)
    assert rows[2].item() == 0.0  # no draw
    assert rows[[0, 1, 3]].any()
    torch.testing.assert_close(total(*scores(), **given), rows.sum())
    torch.testing.assert_close(mean(*scores(), **given), rows.sum() / given["sample_weight"].sum())
    del given["sample_weight"]
    torch.testing.assert_close(mean(*scores(), **given), none(*scores(), **given).mean())


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fused_path_reduces_alike(name, reduction, weighted):
    users, positives, candidates = vectors()
    weight = torch.rand(len(users), dtype=torch.float64) if weighted else None
    upstream = torch.rand(len(users) if reduction == "none" else (), dtype=torch.float64)
    found = []
    for fused in (False, True):
        inputs = [entry.detach().clone().requires_grad_() for entry in (users, positives, candidates)]
        loss = LOSSES[name](num_items=40, fused=fused, reduction=reduction)
        value = loss.from_embeddings(*inputs, sample_weight=weight)
        found.append((value.detach(), *torch.autograd.grad(value, inputs, upstream)))
    for naive, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, naive)


def test_the_gradient_of_rows_is_exact():
    inputs = [entry.detach().clone().requires_grad_() for entry in vectors()]
    loss = CROLoss("softplus", num_items=40, fused=True, reduction="none")
    assert torch.autograd.gradcheck(loss.from_embeddings, inputs)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (0, 0)])
def test_nothing_to_compare_with(reduction, shape):
    positive = torch.randn(shape[0], requires_grad=True)
    value = BPRLoss(reduction=reduction)(positive, torch.randn(shape))
    assert value.shape == (shape[:1] if reduction == "none" else ())
    value.sum().backward()
    assert not value.any()
    assert not positive.grad.any()


def test_an_unknown_reduction():
    for cls in (CROLoss, SoftmaxLoss, BPRLoss):
        with pytest.raises(ValueError, match=r'reduction must be "mean", "sum" or "none", got .average'):
            cls(reduction="average")

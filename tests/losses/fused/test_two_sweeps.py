"""Candidates as they are, brought to unit length on the way, and two sweeps instead of one: the same loss."""

import itertools

import pytest
import torch
from torch.nn import functional

from lightning_croloss.losses import BPRLoss, CROLoss, SoftmaxLoss, TargetNImportance
from lightning_croloss.losses.fused.plan import Tiling
from tests.losses.cases import IMPORTANCES, TRAINABLE, assert_same, other_kernel
from tests.losses.fused.cases import COLUMNS, QUIET, SMALL_TILES, N, option_sets, outcome, vectors

pytestmark = QUIET
OPTIONS = option_sets()
OPTIONS["rows of a table"] = {
    "candidate_ids": torch.arange(COLUMNS),
    "target_ids": torch.tensor([3, 9, 1, 5, 2, 2, 7]),
    "excluded_ids": torch.tensor([[9, 0], [5, 0], [0, 0], [3, 8], [0, 0], [2, 7], [9, 9]]),
}
PAIRS = list(
    zip(
        itertools.product(TRAINABLE, IMPORTANCES),
        itertools.cycle(itertools.product(("reference", "unbiased"), (0.0, 0.6))),
        strict=False,
    )
)


@pytest.fixture(params=["one sweep", "two sweeps"], autouse=True)
def sweeps(request, monkeypatch):
    tiling = Tiling(SMALL_TILES.rows, SMALL_TILES.width, keeps=request.param == "one sweep")
    monkeypatch.setattr(Tiling, "choose", lambda users, candidates: tiling)


def naive(loss, inputs, unit, **options):
    """Return value and gradients by autograd, with the candidates normalised before."""
    loss.fused = False
    users, positives, candidates = inputs
    compared = functional.normalize(candidates, dim=-1) if unit else candidates
    value = loss.from_embeddings(users, positives, compared, **options)
    return [value.detach(), *torch.autograd.grad(value.sum(), inputs), *loss.diagnostics.values()]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_every_loss(number, options):
    (kernel, importance), (scaling, lambda_weight) = PAIRS[number]
    loss = CROLoss(
        TRAINABLE[kernel](),
        IMPORTANCES[importance](),
        0.4,
        lambda_weight,
        other_kernel(kernel),
        num_items=N,
        rank_scaling=scaling,
    )
    for unit in (False, True):
        expected = naive(loss, vectors(), unit, **OPTIONS[options])
        for fused in (True, False):
            found = outcome(loss, fused, vectors(), normalize_candidates=unit, **OPTIONS[options])
            assert_same(found, expected)


@pytest.mark.parametrize("kernel", TRAINABLE)
def test_gradcheck(kernel):
    loss = CROLoss(TRAINABLE[kernel](), TargetNImportance(5.0), 0.4, num_items=N, fused=True)
    options = {"candidate_ids": torch.tensor([3, 9, 0, 5, 9]), "target_ids": torch.tensor([3, 9, 30, 5])}
    assert torch.autograd.gradcheck(
        lambda *v: loss.from_embeddings(*v, normalize_candidates=True, **options), vectors(4, 5)
    )


@pytest.mark.parametrize("name", ["softplus", "softmax", "bpr"])
def test_a_row_of_padding_gets_no_gradient(name):
    loss = {"softplus": CROLoss("softplus", num_items=N), "softmax": SoftmaxLoss(0.4, N)}.get(name)
    inputs = vectors()
    with torch.no_grad():
        inputs[2][0] = 0.0
    found = outcome(
        BPRLoss(num_items=N) if loss is None else loss,
        True,
        inputs,
        normalize_candidates=True,
        **OPTIONS["rows of a table"],
    )
    assert torch.equal(found[3][0], torch.zeros(3, dtype=torch.float64))
    assert all(torch.isfinite(entry).all() for entry in found)
    assert (found[3][1:] != 0).any(1).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_several_positions_in_every_reduction(reduction):
    users, positives, candidates = vectors(6)
    positions = [entry.detach().view(2, 3, -1).requires_grad_() for entry in (users, positives)]
    found = []
    for fused, unit in ((True, True), (False, False)):
        given = candidates if unit else functional.normalize(candidates, dim=-1)
        loss = CROLoss("exp", num_items=N, reduction=reduction, fused=fused)
        value = loss.from_embeddings(*positions, given, normalize_candidates=unit)
        weights = torch.arange(1.0, 1.0 + value.numel(), dtype=torch.float64).view_as(value)
        gradients = torch.autograd.grad((value * weights).sum(), (*positions, candidates))
        found.append([value.detach(), *gradients])
    assert_same(*found)


def test_backward_twice_and_accumulation():
    inputs = vectors()
    value = CROLoss(fused=True).from_embeddings(*inputs, normalize_candidates=True)
    first = [entry.clone() for entry in torch.autograd.grad(value, inputs, retain_graph=True)]
    value.backward(retain_graph=True)
    (3.0 * value).backward()
    for entry, copy in zip(inputs, first, strict=True):
        torch.testing.assert_close(entry.grad, 4.0 * copy)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    inputs = [entry.detach().to(dtype).requires_grad_() for entry in vectors(columns=50)]
    loss = CROLoss(num_items=N)
    found = outcome(loss, True, inputs, normalize_candidates=True)
    exact = naive(loss, [entry.detach().double().requires_grad_() for entry in inputs], True)
    for gradient, wanted in zip(found[1:4], exact[1:4], strict=True):
        assert gradient.dtype == dtype
        assert (gradient.double() - wanted).norm() < 2e-2 * wanted.norm()

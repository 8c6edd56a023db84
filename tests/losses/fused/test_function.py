"""The fused loss as a function of autograd."""

import itertools

import pytest
import torch
from torch.nn.functional import normalize

from lightning_croloss.losses import (
    KERNELS,
    CROLoss,
)
from lightning_croloss.losses.fused import plan
from tests.losses.cases import assert_same
from tests.losses.fused.cases import (
    QUIET,
    N,
    option_sets,
    outcome,
    vectors,
)

pytestmark = QUIET
OPTIONS = option_sets()


@pytest.mark.parametrize(
    "needed", [needed for needed in itertools.product((False, True), repeat=3) if any(needed)]
)
@pytest.mark.parametrize("kernel", ["sigmoid", "exp", "psl_tanh"])
def test_only_what_needs_a_gradient_gets_one(small_tiles, kernel, needed):
    inputs = [entry.detach().requires_grad_(need) for entry, need in zip(vectors(), needed, strict=True)]
    loss = CROLoss(kernel, num_items=N)
    assert_same(
        outcome(loss, True, inputs, **OPTIONS["hits"]), outcome(loss, False, inputs, **OPTIONS["hits"])
    )
    loss.from_embeddings(*inputs).backward()
    assert [entry.grad is not None for entry in inputs] == list(needed)


def test_value_only_keeps_nothing(small_tiles, monkeypatch):
    loss = CROLoss("softplus", lambda_weight=0.5, num_items=N, fused=True)
    expected = loss.from_embeddings(*vectors()).detach()
    monkeypatch.setattr(KERNELS["softplus"], "slope_", None)  # not called
    with torch.no_grad():
        value = loss.from_embeddings(*vectors())
    assert not value.requires_grad
    torch.testing.assert_close(value, expected)
    assert "soft_rank" in loss.diagnostics


def test_second_derivatives_are_refused():
    users, positives, candidates = vectors()
    value = CROLoss(fused=True).from_embeddings(users, positives, candidates)
    with pytest.raises(RuntimeError, match=r"no second derivative.*fused=False"):
        torch.autograd.grad(value, users, create_graph=True)


def test_backward_twice_and_accumulation(small_tiles):
    inputs = vectors()
    value = CROLoss(fused=True).from_embeddings(*inputs)
    first = torch.autograd.grad(value, inputs, retain_graph=True)
    copies = [entry.clone() for entry in first]
    value.backward(retain_graph=True)
    (3.0 * value).backward()
    for entry, copy in zip(inputs, copies, strict=True):
        torch.testing.assert_close(entry.grad, 4.0 * copy)
    assert_same(first, copies, rtol=0)


def test_a_loss_scaler_works():
    """Gradients below the smallest half must survive until they are scaled."""
    inputs = [(1e-3 * entry).detach().half().requires_grad_() for entry in vectors(columns=200)]
    value = CROLoss(num_items=N, fused=True).from_embeddings(*inputs)
    assert value.dtype == torch.float32
    gradients = torch.autograd.grad(2.0**16 * value, inputs)
    exact = outcome(CROLoss(num_items=N), False, [v.detach().double().requires_grad_() for v in inputs])
    assert exact[3].abs().max() < torch.finfo(torch.float16).tiny
    for gradient, expected in zip(gradients, exact[1:4], strict=True):
        assert gradient.dtype == torch.float16
        assert (gradient.double() / 2**16 - expected).norm() < 1e-3 * expected.norm()


def test_autocast_keeps_float32_where_bfloat16_is_no_faster(monkeypatch):
    monkeypatch.setattr(plan, "multiplies_fast", lambda dtype: False)
    inputs = vectors(dtype=torch.float32)
    loss = CROLoss(num_items=N)
    expected = outcome(loss, True, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(outcome(loss, True, inputs), expected, rtol=0)


@pytest.mark.parametrize("most_kept", [plan.MOST_KEPT, 0], ids=["one sweep", "two sweeps"])
@pytest.mark.parametrize("kernel", ["exp", "softplus"])
def test_autocast_multiplies_in_bfloat16_where_it_is_faster(monkeypatch, kernel, most_kept):
    monkeypatch.setattr(plan, "multiplies_fast", lambda dtype: dtype == torch.bfloat16)
    monkeypatch.setattr(plan, "MOST_KEPT", most_kept)
    inputs = [normalize(entry.detach(), dim=1).requires_grad_() for entry in vectors(dtype=torch.float32)]
    loss = CROLoss(kernel, temperature=0.2, num_items=N)
    expected = outcome(loss, True, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = outcome(loss, True, inputs)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert 1e-6 * other.norm() < (one - other).norm() < 2**-6 * other.norm()

"""Whether a temperature suits the scores: the figures against autograd, and the cases that were measured."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from lightning_croloss.losses import BPRLoss, CROLoss, SoftmaxLoss, TripletLoss
from lightning_croloss.losses.resolution import Comparison
from tests.losses.cases import TRAINABLE

COSINE_KERNELS = ("sigmoid", "exp", "softplus", "hinge", "psl_tanh", "psl_relu", "psl_atan")


def differences(kind, width=32):
    """Differences of unit vectors, or of a layer norm's output and of items from N(0, 1)."""
    generator = torch.Generator().manual_seed(0)
    users, positives = (torch.randn(64, width, generator=generator) for _ in range(2))
    items = torch.randn(256, width, generator=generator)
    if kind == "cosine":
        users, positives, items = (normalize(entry, dim=1) for entry in (users, positives, items))
    return users @ items.T - (users * positives).sum(1, keepdim=True)


def advice(comparison, found, calls=1):
    return comparison.advice(comparison.figures(found).tolist(), calls)


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_figures(name):
    kernel, temperature = TRAINABLE[name](), 0.4
    d = torch.randn(9, 7, generator=torch.Generator().manual_seed(0)).double().mul(0.5)
    d[:, 5:] = -math.inf
    d.requires_grad_()
    kept = d[:, :5]
    rank = torch.log1p(kernel.value(kept, torch.tensor(temperature).double()).sum(1))
    slopes = torch.autograd.grad(rank.sum(), d)[0][:, :5].sum(1) * kernel.width(temperature)
    bad = (kept >= 0).double().mean(1) > 0.1
    spread, pull, number, largest = Comparison(kernel, temperature).figures(d.detach()).tolist()
    assert spread == pytest.approx(float(kept.std(1, correction=0).median()), rel=1e-5)
    assert pull == pytest.approx(float(slopes[bad].median()), rel=1e-5)
    assert number == bad.sum()
    assert largest == pytest.approx(float(kept.abs().max()))


@pytest.mark.parametrize("calls", [1, 10, 100, 1_000, 10_000])
@pytest.mark.parametrize("temperature", [0.03, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("kernel", COSINE_KERNELS)
def test_cosines_with_a_good_temperature_raise_no_warning(kernel, temperature, calls):
    comparison = CROLoss(kernel, temperature=temperature).comparison()
    for width in (4, 32, 128):
        for scale in (1.0, 0.3):  # before and while training
            assert advice(comparison, scale * differences("cosine", width), calls) is None


@pytest.mark.parametrize(
    ("loss", "warns"),
    [
        (CROLoss(temperature=0.1), "kernel 'sigmoid' is flat"),  # Recall@50 93 % of the best
        (CROLoss(temperature=0.3), None),  # the best
        (CROLoss(temperature=1.0), None),
        (CROLoss("exp", temperature=0.1), "hears the highest alone"),  # 29 %: loss 165
        (CROLoss("exp", temperature=0.3), "hears the highest alone"),  # 49 %
        (CROLoss("exp", temperature=10.0), None),  # the best
        (SoftmaxLoss(temperature=0.1), "hears the highest alone"),
        (CROLoss("softplus", temperature=0.1), "counts for nothing"),  # 88 %
        (CROLoss("softplus", temperature=1.0), None),  # the best
        (CROLoss("hinge", temperature=0.1), "counts for nothing"),  # 89 %
        (CROLoss("hinge", temperature=1.0), None),
        (BPRLoss(temperature=0.1), "counts for nothing"),  # 36 %
        (BPRLoss(temperature=0.3), "counts for nothing"),
        (BPRLoss(temperature=10.0), None),  # the best
        (TripletLoss(temperature=0.1), "counts for nothing"),  # 42 %
        (TripletLoss(temperature=10.0), None),  # the best
    ],
)
def test_dot_products_as_a_layer_norm_makes_them(loss, warns):
    said = advice(loss.comparison(), differences("layer norm"))
    assert (said is None) == (warns is None)
    if said is not None:
        assert warns in said
        spread = float(differences("layer norm").std(1, correction=0).median())
        assert f"spread over {spread / float(loss.temperature):.3g} times" in said
        assert f"use cosine scores, or a temperature of about {spread:.2g}" in said


def test_a_model_that_has_learned_is_judged_more_strictly():
    comparison = CROLoss(temperature=0.3).comparison()
    assert advice(comparison, differences("layer norm"), 100) is None
    assert "is flat" in advice(comparison, differences("layer norm"), 1_000)
    assert advice(CROLoss(temperature=3.0).comparison(), differences("layer norm"), 1_000) is None


@pytest.mark.parametrize("kernel", ["sigmoid", "exp", "softplus", "hinge"])
def test_cosines_with_too_large_a_temperature_warn_once_the_model_has_learned(kernel):
    comparison = CROLoss(kernel, temperature=1.0).comparison()
    assert advice(comparison, differences("cosine"), 100) is None
    assert "so that all weigh alike" in advice(comparison, differences("cosine"), 1_000)


def test_figures_of_almost_nothing():
    for found in (torch.full((3, 4), -math.inf), torch.tensor([[5.0], [-math.inf]]), torch.zeros(2, 3)):
        assert advice(CROLoss(temperature=1.0).comparison(), found) is None

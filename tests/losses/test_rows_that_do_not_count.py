"""Rows that do not count may hold anything, NaN among it: neither the loss nor a gradient hears of it."""

import math

import pytest
import torch
from torch.func import grad
from torch.nn import functional

from lightning_croloss.losses import CROLoss, SoftmaxLoss
from tests.losses.cases import LOSSES

pytestmark = pytest.mark.filterwarnings("ignore:the scores of a row", "ignore:n=", "ignore:the logits have")
B, M, D = 6, 20, 4
GENERATOR = torch.Generator().manual_seed(0)
USERS, ITEMS, CANDIDATES = (
    0.3 * torch.randn(rows, D, generator=GENERATOR, dtype=torch.float64) for rows in (B, B, M)
)
LOGITS, LABELS = USERS @ CANDIDATES.T, torch.tensor([1, -100, 3, 4, -100, 6])
ANYTHING = [math.nan, math.inf, -math.inf]


def spoiled(values, rows, value):
    values = values.clone()
    values[rows] = value
    return values.requires_grad_()


def outcome(call, given):
    value = call(given)
    return value.detach(), torch.autograd.grad(value, given)[0]


@pytest.mark.parametrize("value", ANYTHING)
@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize("graph", [False, True])
def test_logits_of_ignored_rows(graph, fused, value):
    loss = CROLoss("softplus", fused=fused)

    def call(given):
        return loss.from_logits(given, LABELS)

    expected = outcome(call, spoiled(LOGITS, LABELS < 0, 0.0))
    # in a graph rows are ignored as they are on a device, where nobody waits to learn which they are
    found = outcome(
        torch.compile(call, backend="eager") if graph else call, spoiled(LOGITS, LABELS < 0, value)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("value", ANYTHING)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_where_nobody_waits(name, value):
    loss = LOSSES[name](num_items=M)
    call = grad(lambda given: loss.from_logits(given, LABELS))
    found, expected = (call(spoiled(LOGITS, LABELS < 0, each).detach()) for each in (value, 0.0))
    torch.testing.assert_close(found, expected)
    assert not found[LABELS < 0].any()


def test_it_is_cross_entropy():
    given = spoiled(LOGITS, LABELS < 0, math.nan)
    expected = functional.cross_entropy(given, LABELS)
    found = torch.compile(SoftmaxLoss(temperature=1.0).from_logits, backend="eager")(given, LABELS)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("which", ["users", "positives"])
@pytest.mark.parametrize("name", LOSSES)
def test_positions_that_are_padding(name, which):
    loss, padding = LOSSES[name](num_items=M), torch.tensor([1, 5])
    targets = torch.tensor([3, 0, 4, 5, 6, 0]).view(2, 3)

    def call(given):
        vectors = {"users": USERS, "positives": ITEMS, which: given}
        return loss.from_embeddings(
            *(part.view(2, 3, D) for part in vectors.values()),
            CANDIDATES,
            target_ids=targets,
            candidate_ids=torch.arange(1, M + 1),
        )

    given = {"users": USERS, "positives": ITEMS}[which]
    found = grad(call)(spoiled(given, padding, math.nan).detach())  # stays as on a device
    torch.testing.assert_close(found, grad(call)(given))
    torch.testing.assert_close(found, outcome(call, spoiled(given, padding, math.nan))[1])


@pytest.mark.parametrize("value", ANYTHING)
@pytest.mark.parametrize("fused", [None, False, True])
def test_rows_without_weight(fused, value):
    loss, weight = CROLoss("exp", fused=fused, num_items=M), torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 1.0])
    nothing = weight == 0

    def by_vectors(given):
        return loss.from_embeddings(given, ITEMS, CANDIDATES, sample_weight=weight)

    def by_scores(given):
        return loss(given, LOGITS, sample_weight=weight)

    for call, given in ((by_vectors, USERS), (by_scores, USERS.sum(1))):
        found, expected = (outcome(call, spoiled(given, nothing, each)) for each in (value, 0.1))
        torch.testing.assert_close(found, expected)


def test_a_weight_with_a_gradient_may_be_0():
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    losses = CROLoss("exp", reduction="none").from_embeddings(USERS, ITEMS, CANDIDATES)
    value = CROLoss("exp").from_embeddings(USERS, ITEMS, CANDIDATES, sample_weight=weight)
    expected = (losses - value.detach()) / weight.detach().sum()
    torch.testing.assert_close(torch.autograd.grad(value, weight)[0], expected)


def test_vectors_that_are_the_candidates_are_known_with_a_weight_too():
    with pytest.raises(ValueError, match="positives are the candidates"):
        CROLoss("exp").from_embeddings(
            USERS[:2], ITEMS[:2], ITEMS[:2], sample_weight=torch.tensor([1.0, 0.0])
        )

"""Losses under the functions of torch.func, and of tensors that have no values."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad, hessian, vmap

from lightning_croloss.common.unread_values import shares_memory
from lightning_croloss.losses import CROLoss, SLAtKLoss
from tests.losses.cases import LOSSES

pytestmark = pytest.mark.filterwarnings("ignore:the scores of a row", "ignore:n=")
B, M, D = 6, 20, 4
GENERATOR = torch.Generator().manual_seed(0)
USERS, ITEMS, CANDIDATES = (
    0.3 * torch.randn(rows, D, generator=GENERATOR, dtype=torch.float64) for rows in (B, B, M)
)
IDS, TARGETS = torch.arange(1, M + 1), torch.tensor([3, 1, 5, 5, 2, 19])
LABELS = torch.tensor([3, -100, 5, 5, 2, 19])
CALLS = {
    "scores": lambda loss, users: loss((users * ITEMS).sum(1), users @ CANDIDATES.T),
    "embeddings": lambda loss, users: loss.from_embeddings(users, ITEMS, CANDIDATES),
    "ids": lambda loss, users: loss.from_embeddings(
        users, ITEMS, CANDIDATES, target_ids=TARGETS, candidate_ids=IDS, excluded_ids=TARGETS.view(-1, 1)
    ),
    "positions": lambda loss, users: loss.from_embeddings(
        users.view(2, 3, D),
        ITEMS.view(2, 3, D),
        CANDIDATES,
        target_ids=(TARGETS * (TARGETS != 2)).view(2, 3),
        candidate_ids=IDS,
    ),
    "in_batch": lambda loss, users: loss.in_batch(users, ITEMS, item_ids=TARGETS, item_counts=[3] * 20),
    "logits": lambda loss, users: loss.from_logits(users @ CANDIDATES.T, LABELS),
}
LARGE = {**LOSSES, "CROLoss n": lambda **kwargs: CROLoss("exp", n=5, learnable_temperature=True, **kwargs)}


def by_autograd(call, loss):
    users = USERS.clone().requires_grad_()
    return torch.autograd.grad(CALLS[call](loss, users), users)[0]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", LARGE)
def test_the_gradient_of_a_function_is_that_of_autograd(name, call):
    loss = LARGE[name](num_items=M)
    torch.testing.assert_close(grad(lambda users: CALLS[call](loss, users))(USERS), by_autograd(call, loss))


@pytest.mark.parametrize("call", CALLS)
def test_gradients_of_several_batches_at_once(call):
    loss = CROLoss("exp", num_items=M, learnable_temperature=True)
    several = torch.stack([USERS, 2.0 * USERS])
    found = vmap(grad(lambda users: CALLS[call](loss, users)))(several)
    for each, expected in zip(found, several, strict=True):
        torch.testing.assert_close(each, grad(lambda users: CALLS[call](loss, users))(expected))


def test_second_derivatives_and_parameters():
    loss = CROLoss("exp", learnable_temperature=True)
    assert hessian(lambda users: loss.from_logits(users, LABELS[:2]))(USERS[:2].repeat(1, 6)).isfinite().all()
    parameters = dict(loss.named_parameters())
    scores, negatives = USERS[:, 0], USERS @ CANDIDATES.T
    found = grad(lambda given: functional_call(loss, given, (scores, negatives)))(parameters)
    expected = torch.autograd.grad(loss(scores, negatives), list(loss.parameters()))
    torch.testing.assert_close(list(found.values()), list(expected))


def test_what_asks_for_the_fused_path_is_told_that_it_cannot_be():
    loss = CROLoss("exp", fused=True)
    for call in ("embeddings", "in_batch", "logits"):
        with pytest.raises(ValueError, match=r"^with fused=True the loss cannot be transformed"):
            grad(lambda users, call=call: CALLS[call](loss, users))(USERS)


@pytest.mark.parametrize("name", LARGE)
def test_tensors_without_memory_are_not_the_same(name):
    loss = LARGE[name](num_items=M)
    users, items, candidates = (part.to("meta") for part in (USERS, ITEMS, CANDIDATES))
    assert loss.from_embeddings(users, items, candidates).shape == ()
    assert loss.in_batch(users, items).shape == ()
    assert not shares_memory(users, items)
    assert shares_memory(USERS, USERS[:, :2])


@pytest.mark.parametrize("name", LARGE)
def test_tensors_that_are_made_up(name):
    loss = LARGE[name](num_items=M)
    users = FakeTensorMode(allow_non_fake_inputs=True).from_tensor(USERS).requires_grad_()
    for call in CALLS:
        value = CALLS[call](loss, users)
        assert value.shape == ()
        value.backward()


def test_thresholds_of_users_are_refused_in_one_sentence():
    loss = SLAtKLoss(num_items=M, refresh_epochs=2)
    assert CALLS["embeddings"](SLAtKLoss(num_items=M), USERS).isfinite()
    with pytest.raises(ValueError, match="needs to know the users"):
        grad(lambda users: CALLS["embeddings"](loss, users))(USERS)

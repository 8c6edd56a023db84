"""Dynamic routing against the loops of the paper, in float64."""

import math

import pytest
import torch

from lightning_croloss.models.layers.capsules import active_interests, route_to_interests, squash

#: Users with a whole, a padded and an almost empty history, and with three, two and one interest.
MASK = torch.tensor([[True] * 5, [False, False, True, True, True], [False] * 4 + [True]])
ACTIVE = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])


def draws(dtype=torch.float64):
    """Return events (3, 5, 4), a map (4, 4) and logits (3, 3, 5)."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        for shape in ((3, 5, 4), (4, 4), (3, 3, 5))
    ]


def plain_routing(events, matrix, mask, logits, active, iterations):
    """Route one user after the other, one interest and one event at a time, as the paper writes it."""
    users, positions, dim = events.shape
    found = torch.zeros(users, logits.shape[1], dim, dtype=events.dtype)
    for user in range(users):
        interests = [k for k in range(logits.shape[1]) if active[user, k]]
        b = {(k, i): float(logits[user, k, i]) for k in interests for i in range(positions)}
        mapped = [matrix @ events[user, i] for i in range(positions)]
        for _ in range(iterations):
            u = {}
            for k in interests:
                z = torch.zeros(dim, dtype=events.dtype)
                for i in range(positions):
                    if mask[user, i]:
                        total = sum(math.exp(b[j, i]) for j in interests)
                        z = z + math.exp(b[k, i]) / total * mapped[i]
                length = float(z.norm())
                u[k] = z * length / (1.0 + length**2)
            for (k, i), value in b.items():
                b[k, i] = value + float(u[k] @ mapped[i])
        for k in interests:
            found[user, k] = u[k]
    return found


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_routing_equals_the_plain_computation(iterations):
    events, matrix, logits = draws()
    found = route_to_interests(events, matrix, MASK, logits, ACTIVE, iterations)
    expected = plain_routing(events, matrix, MASK, logits, ACTIVE, iterations)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_an_inactive_interest_is_zero_and_takes_no_weight():
    events, matrix, logits = draws()
    whole = route_to_interests(events, matrix, MASK, logits, ACTIVE, 3)
    assert not whole[~ACTIVE].any()
    two = route_to_interests(events, matrix, MASK, logits[:, :2], ACTIVE[:, :2], 3)
    torch.testing.assert_close(whole[1, :2], two[1])


def test_what_padding_holds_is_not_looked_at():
    events, matrix, logits = draws()
    found = route_to_interests(events, matrix, MASK, logits, ACTIVE, 3)
    events[~MASK] = 100.0
    assert torch.equal(route_to_interests(events, matrix, MASK, logits, ACTIVE, 3), found)


def test_only_the_last_sum_is_trained():
    """The gradient is that of a weighted sum whose weights are constants."""
    events, matrix, logits = draws()
    events.requires_grad_()
    matrix.requires_grad_()
    found = route_to_interests(events, matrix, MASK, logits, ACTIVE, 3)
    gradients = torch.autograd.grad(found.square().sum(), (events, matrix))
    with torch.no_grad():
        routed = logits.masked_fill(~ACTIVE.unsqueeze(-1), float("-inf"))
        for iterations in (1, 2):
            mapped = events @ matrix.T
            routed = routed + route_to_interests(events, matrix, MASK, logits, ACTIVE, iterations) @ mapped.mT
        weights = torch.softmax(routed, 1) * MASK.unsqueeze(1)
    expected = torch.autograd.grad(squash(weights @ (events @ matrix.T)).square().sum(), (events, matrix))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("iterations", [1, 2])
def test_initial_logits_are_not_trained(iterations):
    events, matrix, logits = draws()
    logits.requires_grad_()
    assert not route_to_interests(events, matrix, MASK, logits, ACTIVE, iterations).requires_grad


def test_routing_separates_what_differs():
    """Two groups of events, far apart: after the routing each interest is made of one of them."""
    events = torch.tensor([[4.0, 0.0], [0.0, 4.0]], dtype=torch.float64).repeat(4, 1).unsqueeze(0)
    logits = torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask, active = torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    matrix = torch.eye(2, dtype=torch.float64)
    one, many = (
        torch.nn.functional.normalize(route_to_interests(events, matrix, mask, logits, active, n)[0], dim=-1)
        for n in (1, 6)
    )
    assert float(one[0] @ one[1]) > 0.7
    assert float(many[0] @ many[1]) < 0.01


def test_no_events_have_finite_gradients():
    events, matrix, logits = draws()
    events.requires_grad_()
    found = route_to_interests(events, matrix, torch.zeros_like(MASK), logits, ACTIVE, 3)
    assert not found.any()
    found.sum().backward()
    assert not events.grad.any()


def test_the_type_of_the_events_is_kept():
    events, matrix, logits = draws(torch.bfloat16)
    assert route_to_interests(events, matrix, MASK, logits.float(), ACTIVE, 3).dtype is torch.bfloat16


def test_squash():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.03, 0.04]], dtype=torch.float64)
    expected = torch.tensor([25 / 26, 0.0, 0.0025 / 1.0025], dtype=torch.float64)
    torch.testing.assert_close(squash(vectors).norm(dim=1), expected)
    torch.testing.assert_close(squash(vectors)[0], expected[0] * torch.tensor([0.6, 0.8]).double())


@pytest.mark.parametrize("largest", [1, 4, 13])
def test_the_number_of_interests_follows_the_length(largest):
    lengths = torch.arange(5000)
    active = active_interests(lengths, largest)
    assert active.shape == (5000, largest)
    expected = [max(1, min(largest, n.bit_length() - 1)) for n in lengths.tolist()]
    assert active.sum(1).tolist() == expected
    assert bool((active[:, :-1] | ~active[:, 1:]).all())  # the first ones


def test_more_interests_than_a_history_can_have():
    assert active_interests(torch.tensor([0, 9]), 80).sum(1).tolist() == [1, 3]

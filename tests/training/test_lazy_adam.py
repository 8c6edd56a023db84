"""LazyAdam against Adam, and against a loop over rows."""

import copy

import pytest
import torch
from torch import nn

from lightning_croloss.training import LazyAdam
from tests.training.cases import parameters, rows_of_steps, sparse


def naive(start, steps, lr, betas, eps, weight_decay):
    """Update one row after the other, as the docstring says."""
    values, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    last = [0] * len(start)
    for step, (ids, gradients) in enumerate(steps, start=1):
        for row in set(ids.tolist()):
            gradient = gradients[ids == row].sum(0)
            missed = step - last[row]
            values[row] *= (1 - lr * weight_decay) ** missed
            first[row] = betas[0] ** missed * first[row] + (1 - betas[0]) * gradient
            second[row] = betas[1] ** missed * second[row] + (1 - betas[1]) * gradient**2
            mean, variance = first[row] / (1 - betas[0] ** step), second[row] / (1 - betas[1] ** step)
            values[row] -= lr * mean / (variance.sqrt() + eps)
            last[row] = step
    return values


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("lr", "betas", "eps"), [(0.1, (0.9, 0.99), 1e-8), (0.03, (0.5, 0.7), 1e-3)])
def test_each_row_is_updated_as_a_loop_does(lr, betas, eps, weight_decay):
    steps = list(rows_of_steps(12))
    parameter, _ = parameters()
    optimizer = LazyAdam([parameter], lr, betas, eps, weight_decay)
    expected = naive(parameter.detach(), steps, lr, betas, eps, weight_decay)
    for ids, gradients in steps:
        parameter.grad = sparse(ids, gradients)
        optimizer.step()
    torch.testing.assert_close(parameter.detach(), expected)


def test_moments_are_those_of_adam_and_rows_without_gradient_do_not_move():
    (lazy, dense), steps = parameters(), list(rows_of_steps(12))
    lazy_adam, adam = LazyAdam([lazy], 0.1), torch.optim.Adam([dense], 0.1)
    for ids, gradients in steps:
        before = lazy.detach().clone()
        lazy.grad = sparse(ids, gradients)
        dense.grad = lazy.grad.to_dense()
        lazy_adam.step()
        adam.step()
        moved = (lazy.detach() != before).any(1)
        assert set(moved.nonzero().flatten().tolist()) == set(ids.tolist())
    lazy.grad, dense.grad = torch.zeros_like(lazy), torch.zeros_like(dense)  # brings all rows to one step
    lazy_adam.step()
    adam.step()
    for name in ("step", "exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(lazy_adam.state[lazy][name], adam.state[dense][name])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_with_dense_gradients_it_is_adamw(weight_decay):
    one, other = parameters()
    optimizers = [
        LazyAdam([one], 0.1, weight_decay=weight_decay),
        torch.optim.AdamW([other], 0.1, weight_decay=weight_decay),
    ]
    for ids, gradients in rows_of_steps(8):
        one.grad = other.grad = sparse(ids, gradients).to_dense()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_states_of_adam_and_of_lazy_adam_are_exchanged(kind):
    one, other = parameters()
    steps = list(rows_of_steps(6))
    adam = kind([one], 0.1, weight_decay=0.0)
    for ids, gradients in steps:
        one.grad = sparse(ids, gradients).to_dense()
        adam.step()
    other.data.copy_(one.data)
    lazy = LazyAdam([other], 0.5)
    lazy.load_state_dict(copy.deepcopy(adam.state_dict()))
    assert lazy.param_groups[0]["lr"] == 0.1
    other.grad, one.grad = sparse(*steps[0]), sparse(*steps[0]).to_dense()
    lazy.step()
    adam.step()
    touched = steps[0][0].unique()
    torch.testing.assert_close(other[touched], one[touched])
    again = kind([one], 0.5)
    again.load_state_dict(lazy.state_dict())
    again.step()


def test_last_steps_stay_integers_beyond_what_a_float_can_count():
    parameter, _ = parameters()
    optimizer = LazyAdam([parameter])
    parameter.grad = sparse(torch.tensor([1]), torch.ones(1, 3, dtype=torch.float64))
    optimizer.step()
    optimizer.state[parameter]["last_step"].fill_(2**24 + 1)
    again = LazyAdam([parameter])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    last = again.state[parameter]["last_step"]
    assert last.dtype == torch.int64
    assert last[0] == 2**24 + 1


@pytest.mark.parametrize(
    "arguments", [{"lr": -1.0}, {"eps": -1.0}, {"weight_decay": float("nan")}, {"betas": (0.9, 1.0)}]
)
def test_refuses_settings(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be"):
        LazyAdam([nn.Parameter(torch.ones(2))], **arguments)

"""Every loss and path on the device against the plain path in float64 on the CPU, value and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses import CROLoss, RetrievalLoss, SoftmaxLoss
from tests.gpu.device import DEVICE, ON_GPU, is_on_device, on_device, relative_error, sized
from tests.losses.cases import FUSED, IMPORTANCES, LOSSES, SCALINGS, TRAINABLE

pytestmark = pytest.mark.gpu

ROWS, COLUMNS, WIDTH, ITEMS = sized(48, 5), sized(1000, 23), sized(32, 8), sized(1500, 29)
PATHS = {"naive": False, "fused": True}
OPTIONS = ("plain", "ids", "all")


def inputs(scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return users (B, D), positives (B, D) and candidates (M, D), unit vectors in float64 on the CPU."""
    generator = torch.Generator().manual_seed(1)
    shapes = ((ROWS, WIDTH), (ROWS, WIDTH), (COLUMNS, WIDTH))
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return tuple(scale * functional.normalize(vectors, dim=-1) for vectors in drawn)


def options(name: str) -> dict[str, Any]:
    """Return nothing; the ids with accidental hits, padding and exclusions; or every option besides."""
    generator = torch.Generator().manual_seed(2)
    if name == "plain":
        return {}
    candidates = torch.randint(1, ITEMS + 1, (COLUMNS,), generator=generator)
    candidates[::7] = 0
    excluded = torch.randint(0, ITEMS + 1, (ROWS, 4), generator=generator)
    targets = torch.randint(1, ITEMS + 1, (ROWS,), generator=generator)
    targets[::2] = candidates[1 + torch.arange(len(targets[::2])) % 5]
    found = {"target_ids": targets, "candidate_ids": candidates, "excluded_ids": excluded}
    if name == "ids":
        return found
    log_prob = -8.0 - torch.rand(COLUMNS, generator=generator, dtype=torch.float64)
    weight = torch.rand(ROWS, generator=generator, dtype=torch.float64) + 0.1
    draws = torch.randint(1, COLUMNS, (ROWS,), generator=generator)
    return {**found, "candidate_log_prob": log_prob, "sample_weight": weight, "num_sampled": draws}


def outcome(
    loss: RetrievalLoss, vectors: tuple[Tensor, ...], given: dict[str, Any], dtype: torch.dtype, device: str
) -> list[Tensor]:
    """Return the value and the gradients of the loss, the vectors being of a type, on a device."""
    moved = {
        name: value.to(device, dtype if value.is_floating_point() else value.dtype)
        for name, value in given.items()
    }
    leaves = [vector.to(device, dtype).requires_grad_() for vector in vectors]
    value = loss.to(device).from_embeddings(*leaves, **moved)
    return [value, *torch.autograd.grad(value, leaves)]


def check(build: Callable[..., RetrievalLoss], given: str, tolerance: float, **path: Any) -> None:
    """Fail unless a loss on the device is close to that of the plain path in float64 on the CPU."""
    plain = {"fused": False} if path else {}
    expected = outcome(build(num_items=ITEMS, **plain), inputs(), options(given), torch.float64, "cpu")
    found = outcome(build(num_items=ITEMS, **path), inputs(), options(given), torch.float32, DEVICE)
    assert all(is_on_device(value) and value.dtype == torch.float32 for value in found)
    errors = [relative_error(one, other) for one, other in zip(found, expected, strict=True)]
    assert max(errors) < tolerance, errors


@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("importance", list(IMPORTANCES) if ON_GPU else ["power 0.6", "gamma"])
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_croloss(kernel: str, importance: str, path: str, given: str) -> None:
    def build(**kwargs: Any) -> CROLoss:
        return CROLoss(TRAINABLE[kernel](), IMPORTANCES[importance](), temperature=0.2, **kwargs)

    check(build, given, 1e-4, fused=PATHS[path])


@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("lambda_kernel", ["sigmoid", "heaviside"])
@pytest.mark.parametrize("kernel", ["softplus", "exp"])
def test_lambda(kernel: str, lambda_kernel: str, scaling: str, path: str, given: str) -> None:
    def build(**kwargs: Any) -> CROLoss:
        importance = IMPORTANCES["power 0.6"]()
        return CROLoss(kernel, importance, 0.2, 0.7, lambda_kernel, rank_scaling=scaling, **kwargs)

    # a step is 0 or 1 where float32 cannot tell the two scores apart
    check(build, given, 1e-4 if lambda_kernel == "sigmoid" else 2e-3, fused=PATHS[path])


@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_softmax(scaling: str, path: str, given: str) -> None:
    check(lambda **kwargs: SoftmaxLoss(rank_scaling=scaling, **kwargs), given, 1e-4, fused=PATHS[path])


@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("name", [name for name in LOSSES if name not in FUSED])
def test_losses_without_a_fused_path(name: str, given: str) -> None:
    check(LOSSES[name], given, 1e-4)


@pytest.mark.parametrize("given", OPTIONS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["BSLLoss", "RecallSurrogateLoss"])
def test_rivals_with_a_fused_path(name: str, path: str, given: str) -> None:
    check(LOSSES[name], given, 1e-4, fused=PATHS[path])


@pytest.mark.parametrize("name", LOSSES)
def test_candidates_of_each_row(name: str) -> None:
    users, positives, candidates = inputs()
    each = torch.stack([candidates.roll(row, 0) for row in range(ROWS)])
    expected = outcome(LOSSES[name](num_items=ITEMS), (users, positives, each), {}, torch.float64, "cpu")
    found = outcome(LOSSES[name](num_items=ITEMS), (users, positives, each), {}, torch.float32, DEVICE)
    errors = [relative_error(one, other) for one, other in zip(found, expected, strict=True)]
    assert max(errors) < 1e-4, errors


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["CROLoss", "CROLoss lambda", "SoftmaxLoss"])
def test_half_precision(name: str, path: str, dtype: torch.dtype) -> None:
    """The vectors are the same numbers on both sides; what remains is the products' rounding."""
    rounded = tuple(vector.to(dtype).double() for vector in inputs())
    given = options("ids")
    plain = LOSSES[name](num_items=ITEMS, fused=False)
    expected = outcome(plain, rounded, given, torch.float64, "cpu")
    loss = LOSSES[name](num_items=ITEMS, fused=PATHS[path])
    found = outcome(loss, rounded, given, dtype, DEVICE)
    assert found[0].dtype == torch.float32
    assert relative_error(found[0], expected[0]) < 1e-2
    errors = [relative_error(one, other) for one, other in zip(found[1:], expected[1:], strict=True)]
    assert max(errors) < 5e-2, errors


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["CROLoss", "CROLoss lambda", "SoftmaxLoss"])
def test_autocast(name: str, path: str) -> None:
    expected = outcome(LOSSES[name](num_items=ITEMS, fused=False), inputs(), {}, torch.float64, "cpu")
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        loss = LOSSES[name](num_items=ITEMS, fused=PATHS[path])
        found = outcome(loss, inputs(), options("plain"), torch.float32, DEVICE)
    assert found[0].dtype == torch.float32
    errors = [relative_error(one, other) for one, other in zip(found, expected, strict=True)]
    assert max(errors) < 5e-2, errors


@pytest.mark.parametrize("path", PATHS)
def test_huge_scores_stay_finite(path: str) -> None:
    loss = CROLoss("exp", IMPORTANCES["power 0"](), 0.01, num_items=ITEMS, fused=PATHS[path])
    found = outcome(loss, inputs(scale=30.0), {}, torch.float32, DEVICE)
    assert all(bool(value.isfinite().all()) for value in found)


@pytest.mark.parametrize("path", PATHS)
def test_a_changed_parameter_reaches_the_loss(path: str) -> None:
    loss = CROLoss("softplus", IMPORTANCES["target 3"](), 0.1, num_items=ITEMS, fused=PATHS[path]).to(DEVICE)
    changes = {"temperature": 0.25, "lambda_weight": 0.4, "n": 7.0}
    for name, value in changes.items():
        assert loss.schedulable()[name].device.type == "cpu"  # reading it waits for nothing
        loss.schedulable()[name].fill_(value)
    found = outcome(loss, inputs(), {}, torch.float32, DEVICE)
    other = CROLoss("softplus", type(loss.importance)(7.0), 0.25, 0.4, num_items=ITEMS, fused=False)
    expected = outcome(other, inputs(), {}, torch.float64, "cpu")
    errors = [relative_error(one, other) for one, other in zip(found, expected, strict=True)]
    assert max(errors) < 1e-4, errors


def test_the_same_inputs_give_the_same_bits() -> None:
    vectors, given = tuple(on_device(vector) for vector in inputs()), options("all")
    loss = CROLoss("exp", num_items=ITEMS, fused=True)
    first = outcome(loss, vectors, given, torch.float32, DEVICE)
    second = outcome(loss, vectors, given, torch.float32, DEVICE)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))

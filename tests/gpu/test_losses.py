"""Every loss and path on the device against the plain path in float64 on the CPU, value and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from lightning_croloss.common.triton_switch import triton_kernels
from lightning_croloss.losses import CROLoss, RecallSurrogateLoss, RetrievalLoss, SoftmaxLoss
from tests.gpu.device import DEVICE, ON_GPU, is_on_device, on_device, relative_error, sized
from tests.gpu.loss_inputs import ITEMS, ROWS, inputs, options, outcome
from tests.losses.cases import FUSED, IMPORTANCES, LOSSES, SCALINGS, TRAINABLE

pytestmark = pytest.mark.gpu

PATHS = {"naive": False, "fused": True}
OPTIONS = ("plain", "ids", "all")
#: Losses of other papers; ks of the size of the ranks, else there is no gradient.
RIVALS: dict[str, Callable[..., RetrievalLoss]] = {
    "BSLLoss": LOSSES["BSLLoss"],
    "RecallSurrogateLoss": lambda **kwargs: RecallSurrogateLoss(
        0.1, sized(500, 15), (sized(300, 2), sized(900, 9)), **kwargs
    ),
}


@pytest.fixture(autouse=True)
def without_triton() -> Iterator[None]:
    """The kernels in Triton have tests of their own."""
    with triton_kernels(False):
        yield


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
@pytest.mark.parametrize("name", RIVALS)
def test_rivals_with_a_fused_path(name: str, path: str, given: str) -> None:
    check(RIVALS[name], given, 1e-4, fused=PATHS[path])


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

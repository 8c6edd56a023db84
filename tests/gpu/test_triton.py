"""The kernels in Triton against the plain path in float64 on the CPU, value and gradients.

On a GPU they are compiled; elsewhere Triton's interpreter runs them, in tiles smaller than the scores.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.common.triton_switch import triton_kernels
from lightning_croloss.losses import CROLoss, RetrievalLoss, SigmoidKernel, SoftmaxLoss
from lightning_croloss.losses.fused import function
from lightning_croloss.losses.fused.triton import plan
from lightning_croloss.losses.fused.triton.layout import Cut, Layout
from lightning_croloss.losses.fused.triton.plan import TritonPlan
from tests.gpu.device import DEVICE, ON_GPU, is_on_device, relative_error, sized
from tests.gpu.loss_inputs import ITEMS, inputs, options, outcome
from tests.losses.cases import ALL_KERNELS, FUSED, IMPORTANCES, LOSSES, SCALINGS, TRAINABLE, other_kernel

pytest.importorskip("triton", reason="Triton is not installed: pip install triton, or the extra dev")
#: The interpreter computes by numpy, which warns of exp of what is far below.
INTERPRETER = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:n=", "ignore:.*negatives are drawn", "ignore:the scores of a row"),
    INTERPRETER,
]

ROWS, COLUMNS, WIDTH = sized(300, 19), sized(5000, 37), sized(32, 20)
CHOOSE = Layout.choose
SMALL = Layout(Cut(16, 32, 4, 1), Cut(32, 16, 4, 1), programs=4)
OPTIONS = ("plain", "ids", "all", "each")
#: Every kernel with options, importances, scalings and Lambda weights that go round; fewer of them where a
#: compiler takes its time.
CASES = [
    (kernel, given, importance, scaling, lambda_weight)
    for (given, kernel), importance, (scaling, lambda_weight) in zip(
        list(itertools.product(OPTIONS, TRAINABLE))[: sized(2 * len(TRAINABLE), 4 * len(TRAINABLE))],
        itertools.cycle(IMPORTANCES),
        itertools.cycle(itertools.product(SCALINGS, (0.0, 0.6, 1.0))),
        strict=False,
    )
]


@pytest.fixture(autouse=True)
def by_triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Turn the kernels on, and note the plans of all losses that are computed in tiles."""
    if not ON_GPU:
        monkeypatch.setattr(Layout, "choose", lambda width, dtype, device: SMALL)
    plans: list[Any] = []
    real = function._computation_of
    monkeypatch.setattr(function, "_computation_of", lambda plan: plans.append(plan) or real(plan))
    with triton_kernels(True):
        yield plans


def check(build: Any, plans: list[Any], given: dict[str, Any], tolerance: float = 1e-5, **sizes: Any) -> None:
    """Fail unless a loss by the kernels is close to the plain path in float64 on the CPU."""
    vectors = inputs(**{"rows": ROWS, "columns": COLUMNS, "width": WIDTH, **sizes})
    expected = outcome(build(num_items=ITEMS, fused=False), vectors, given, torch.float64, "cpu")
    assert not plans
    found = outcome(build(num_items=ITEMS, fused=True), vectors, given, torch.float32, DEVICE)
    assert [type(plan) for plan in plans] == [TritonPlan]
    assert all(is_on_device(value) and value.dtype == torch.float32 for value in found)
    errors = [relative_error(one, other) for one, other in zip(found, expected, strict=True)]
    assert max(errors) < tolerance, errors


def given(name: str, rows: int = ROWS, columns: int = COLUMNS) -> dict[str, Any]:
    """Return options of some name for this file's sizes."""
    return options(name, rows, columns)


@pytest.mark.parametrize(("kernel", "name", "importance", "scaling", "lambda_weight"), CASES)
def test_every_kernel(
    by_triton: list[Any], kernel: str, name: str, importance: str, scaling: str, lambda_weight: float
) -> None:
    def build(**kwargs: Any) -> CROLoss:
        return CROLoss(
            TRAINABLE[kernel](),
            IMPORTANCES[importance](),
            0.3,
            lambda_weight,
            other_kernel(kernel),
            rank_scaling=scaling,
            **kwargs,
        )

    # a step is 0 or 1 where float32 cannot tell the two scores apart
    check(build, by_triton, given(name), 1e-4 if kernel != "sigmoid" or not lambda_weight else 2e-3)


@pytest.mark.parametrize("lambda_kernel", [name for name in ALL_KERNELS if name not in ("sigmoid", "exp")])
def test_every_kernel_of_the_lambda_method(by_triton: list[Any], lambda_kernel: str) -> None:
    def build(**kwargs: Any) -> CROLoss:
        importance = IMPORTANCES["power 0.6"]()
        return CROLoss("exp", importance, 0.3, 0.7, ALL_KERNELS[lambda_kernel](), **kwargs)

    check(build, by_triton, given("all"), 1e-4 if lambda_kernel != "heaviside" else 2e-3)


@pytest.mark.parametrize("name", FUSED)
def test_every_loss(by_triton: list[Any], name: str) -> None:
    check(LOSSES[name], by_triton, given("ids"), 1e-4)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("width", [3, 16, 64, 100, 512])
def test_every_width(monkeypatch: pytest.MonkeyPatch, by_triton: list[Any], width: int, unit: bool) -> None:
    monkeypatch.setattr(Layout, "choose", CHOOSE)
    check(CROLoss, by_triton, {**given("all"), "normalize_candidates": unit}, 1e-4, width=width)


@pytest.mark.parametrize("rows", [1, 16, 33])
@pytest.mark.parametrize("columns", [1, 2, 32, 65])
def test_every_size(by_triton: list[Any], rows: int, columns: int) -> None:
    check(SoftmaxLoss, by_triton, {}, rows=rows, columns=columns, width=8)


@pytest.mark.parametrize("width", [16, 100, 512])
@pytest.mark.parametrize("kernel", ["exp", "sigmoid", "psl_atan"])
def test_bfloat16(monkeypatch: pytest.MonkeyPatch, by_triton: list[Any], kernel: str, width: int) -> None:
    """The vectors are the same numbers on both sides; what remains is that φ′ is rounded for its products."""
    monkeypatch.setattr(Layout, "choose", CHOOSE)
    vectors = tuple(entry.bfloat16().double() for entry in inputs(1.0, ROWS, COLUMNS, width))
    options = {**given("ids"), "normalize_candidates": kernel == "exp"}
    loss = CROLoss(kernel, None, 0.3, num_items=ITEMS, fused=False)
    expected = outcome(loss, vectors, options, torch.float64, "cpu")
    loss = CROLoss(kernel, None, 0.3, num_items=ITEMS, fused=True)
    found = outcome(loss, vectors, options, torch.bfloat16, DEVICE)
    assert [type(plan) for plan in by_triton] == [TritonPlan]
    assert by_triton[0].product_dtype == torch.bfloat16
    assert [value.dtype for value in found] == [torch.float32, *[torch.bfloat16] * 3]
    assert relative_error(found[0], expected[0]) < 1e-5
    errors = [relative_error(one, other) for one, other in zip(found[1:], expected[1:], strict=True)]
    assert max(errors) < 1e-2, errors


def test_autocast(by_triton: list[Any]) -> None:
    vectors = inputs(1.0, ROWS, COLUMNS, WIDTH)
    expected = outcome(CROLoss(num_items=ITEMS, fused=False), vectors, given("ids"), torch.float64, "cpu")
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        loss = CROLoss(num_items=ITEMS, fused=True)
        found = outcome(loss, vectors, given("ids"), torch.float32, DEVICE)
    assert [type(plan) for plan in by_triton] == [TritonPlan]
    assert by_triton[0].product_dtype == torch.bfloat16
    errors = [relative_error(one, other) for one, other in zip(found, expected, strict=True)]
    assert max(errors) < 5e-2, errors


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_every_reduction(by_triton: list[Any], reduction: str) -> None:
    check(lambda **kwargs: CROLoss("exp", reduction=reduction, **kwargs), by_triton, given("all"), 1e-4)


@pytest.mark.parametrize("masked", [True, False])
def test_lists_of_excluded_items(monkeypatch: pytest.MonkeyPatch, by_triton: list[Any], masked: bool) -> None:
    if not masked:
        monkeypatch.setattr(plan, "MOST_MASKED", 0)
    expected = outcome(
        CROLoss("softplus", num_items=ITEMS, fused=False),
        inputs(1.0, ROWS, COLUMNS, WIDTH),
        given("all"),
        torch.float64,
        "cpu",
    )
    options = given("all")
    lists, nothing = ItemLists.of_padded(options["excluded_ids"]), ItemLists.of_padded(torch.zeros(ROWS, 0))
    for excluded in (options["excluded_ids"], lists.to(DEVICE), nothing.to(DEVICE)):
        found = {**options, "excluded_ids": excluded}
        loss = CROLoss("softplus", num_items=ITEMS, fused=True)
        values = outcome(loss, inputs(1.0, ROWS, COLUMNS, WIDTH), found, torch.float32, DEVICE)
        by_triton.append(values)
    first, padded, _, listed, _, without = by_triton
    assert (first.ignored.mask is not None, first.ignored.listed is not None) == (masked, not masked)
    assert max(relative_error(one, other) for one, other in zip(padded, expected, strict=True)) < 1e-4
    assert all(torch.equal(one, other) for one, other in zip(padded, listed, strict=True))
    assert not torch.equal(padded[0], without[0])


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2)], ids=str)
def test_gradients_of_some_inputs(by_triton: list[Any], needed: tuple[int, ...]) -> None:
    loss = CROLoss("psl_relu", None, 0.5, num_items=ITEMS, fused=True)
    vectors = [entry.to(DEVICE, torch.float32) for entry in inputs(1.0, ROWS, COLUMNS, WIDTH)]
    everything = outcome(loss, tuple(vectors), {}, torch.float32, DEVICE)
    with torch.no_grad():
        assert torch.equal(loss.from_embeddings(*vectors), everything[0])
    leaves = [vectors[number].requires_grad_() for number in needed]
    value = loss.from_embeddings(*vectors)
    first = torch.autograd.grad(value, leaves, retain_graph=True)
    again = torch.autograd.grad(3.0 * value, leaves)
    for number, one, other in zip(needed, first, again, strict=True):
        assert torch.equal(one, everything[1 + number])
        torch.testing.assert_close(other, 3.0 * one)


@pytest.mark.parametrize("kernel", TRAINABLE)
def test_nothing_that_counts(by_triton: list[Any], kernel: str) -> None:
    loss = CROLoss(TRAINABLE[kernel](), IMPORTANCES["power 0.6"](), num_items=ITEMS, fused=True)
    hits = {"candidate_ids": torch.full((COLUMNS,), 5), "target_ids": torch.full((ROWS,), 5)}
    for ids in (hits, {"candidate_ids": torch.zeros(COLUMNS, dtype=torch.long)}):
        found = outcome(loss, inputs(1.0, ROWS, COLUMNS, WIDTH), ids, torch.float32, DEVICE)
        assert all(bool((gradient == 0).all()) for gradient in found[1:])
    assert all(type(plan) is TritonPlan for plan in by_triton)


@pytest.mark.parametrize("kernel", TRAINABLE)
def test_huge_scores_stay_finite_and_nan_stays_nan(by_triton: list[Any], kernel: str) -> None:
    def build(fused: bool) -> RetrievalLoss:
        importance = IMPORTANCES["power 0"]()
        return CROLoss(TRAINABLE[kernel](), importance, 0.02, 0.5, other_kernel(kernel), 1000, fused=fused)

    vectors = inputs(50.0, ROWS, COLUMNS, WIDTH)
    found = outcome(build(True), vectors, {}, torch.float32, DEVICE)
    assert all(bool(value.isfinite().all()) for value in found)
    expected = outcome(build(False), vectors, {}, torch.float64, "cpu")
    assert relative_error(found[0], expected[0]) < 1e-4
    if not kernel.startswith(("psl_relu", "psl_atan")):  # whose g is 0 of what is no number, on every path
        broken = (vectors[0] * torch.nan, *vectors[1:])
        assert bool(outcome(build(True), broken, {}, torch.float32, DEVICE)[0].isnan())


def test_the_same_inputs_give_the_same_bits() -> None:
    vectors = inputs(1.0, ROWS, COLUMNS, WIDTH)
    loss = CROLoss("exp", num_items=ITEMS, fused=True)
    first, second = (outcome(loss, vectors, given("all"), torch.float32, DEVICE) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_vectors_that_are_not_consecutive(by_triton: list[Any]) -> None:
    vectors = inputs(1.0, ROWS, COLUMNS, WIDTH)
    loss = SoftmaxLoss(num_items=ITEMS, fused=True)
    expected = outcome(loss, vectors, {}, torch.float32, DEVICE)
    transposed = tuple(entry.float().to(DEVICE).T.contiguous().T for entry in vectors)
    every_other = tuple(entry.float().to(DEVICE).repeat_interleave(2, 0)[::2] for entry in vectors)
    for strided in (transposed, every_other):
        found = outcome(loss, strided, {}, torch.float32, DEVICE)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


class Doubled(SigmoidKernel):
    """A kernel that the package does not know."""

    def value(self, difference: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
        return 2.0 * super().value(difference, temperature)

    def value_(self, x: torch.Tensor, out: torch.Tensor, temperature: float) -> None:
        out.copy_(2.0 * torch.sigmoid(x))

    def slope_(self, x: torch.Tensor, out: torch.Tensor, temperature: float) -> None:
        out.copy_(2.0 * torch.sigmoid(x) * torch.sigmoid(-x))


def test_what_the_kernels_do_not_know_takes_the_portable_path(by_triton: list[Any]) -> None:
    vectors = inputs(1.0, ROWS, COLUMNS, WIDTH)
    losses = [CROLoss(Doubled(), num_items=ITEMS, fused=fused) for fused in (False, True)]
    expected, found = (outcome(loss, vectors, {}, torch.float32, DEVICE) for loss in losses)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    known = CROLoss(num_items=ITEMS, fused=True)
    outcome(known, vectors, {}, torch.float64, DEVICE)
    outcome(known, inputs(1.0, ROWS, COLUMNS, 520), {}, torch.float32, DEVICE)
    outcome(known, vectors, {}, torch.float16, DEVICE)
    with triton_kernels(False):
        outcome(known, vectors, {}, torch.float32, DEVICE)
    assert len(by_triton) == 5
    assert TritonPlan not in [type(plan) for plan in by_triton]

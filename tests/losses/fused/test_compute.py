"""The fused path against the naive one, in value, gradients and memory."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_croloss.losses import (
    KERNELS,
    CROLoss,
    PowerImportance,
    SoftmaxLoss,
    TargetNImportance,
)
from lightning_croloss.losses.fused.plan import Tiling
from tests.losses.cases import ALL_KERNELS, IMPORTANCES, SCALINGS, TRAINABLE, assert_same, other_kernel
from tests.losses.fused.cases import (
    COLUMNS,
    QUIET,
    ROWS,
    N,
    assert_fused_is_naive,
    option_sets,
    outcome,
    vectors,
)

pytestmark = QUIET
OPTIONS = option_sets()
#: each kernel with each importance; options, Lambda weights and scalings go round
EVERY_PAIR = [
    (kernel, importance, scaling, lambda_weight)
    for (kernel, importance), (scaling, lambda_weight) in zip(
        itertools.product(TRAINABLE, IMPORTANCES),
        itertools.cycle(itertools.product(SCALINGS, (0.0, 0.6, 1.0))),
        strict=False,
    )
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("kernel", "importance", "scaling", "lambda_weight"), EVERY_PAIR)
def test_every_kernel_with_every_importance(small_tiles, kernel, importance, scaling, lambda_weight, options):
    loss = CROLoss(
        TRAINABLE[kernel](),
        IMPORTANCES[importance](),
        0.4,
        lambda_weight,
        other_kernel(kernel),
        num_items=N,
        rank_scaling=scaling,
    )
    assert_fused_is_naive(loss, **OPTIONS[options])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(
    ("kernel", "lambda_kernel"),
    [pair for pair in itertools.product(TRAINABLE, ALL_KERNELS) if len({*pair}) > 1],
)
def test_every_pair_of_kernels(small_tiles, kernel, lambda_kernel, scaling, options):
    loss = CROLoss(
        TRAINABLE[kernel](),
        None,
        0.4,
        0.6,
        ALL_KERNELS[lambda_kernel](),
        num_items=N,
        rank_scaling=scaling,
    )
    assert_fused_is_naive(loss, **OPTIONS[options])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_softmax(small_tiles, scaling, options):
    loss = SoftmaxLoss(0.4, N, scaling)
    assert_fused_is_naive(loss, **OPTIONS[options])


@settings(max_examples=150, derandomize=True)
@given(data=st.data())
@pytest.mark.slow
def test_any_shape_and_any_tiling(data):
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9))
    tiling = Tiling(data.draw(st.integers(1, 8)), data.draw(st.integers(1, 12)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))

    def ids(*shape):
        return torch.randint(0, 8, shape, generator=generator)

    options = {}
    if data.draw(st.booleans()):
        options["candidate_ids"] = ids(columns) if data.draw(st.booleans()) else torch.arange(1, columns + 1)
        if data.draw(st.booleans()):
            options["target_ids"] = ids(rows).clamp(min=1)  # padding is no target
        if data.draw(st.booleans()):
            options["excluded_ids"] = ids(rows, data.draw(st.integers(0, 3)))
    shape = data.draw(st.sampled_from([None, (columns,), (rows, columns)]))
    if shape is not None:
        options["candidate_log_prob"] = -3 * torch.rand(shape, generator=generator, dtype=torch.float64)
    if data.draw(st.booleans()):
        options["num_sampled"] = torch.randint(0, 9, (rows,), generator=generator)
    loss = CROLoss(
        data.draw(st.sampled_from(sorted(KERNELS.keys() - {"heaviside"}))),
        PowerImportance(0.7),
        0.5,
        num_items=N,
        rank_scaling=data.draw(st.sampled_from(SCALINGS)),
    )
    inputs = vectors(rows, columns)
    naive = outcome(loss, False, inputs, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tiling, "choose", lambda users, candidates: tiling)
        assert_same(outcome(loss, True, inputs, **options), naive, rtol=1e-8)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_gradcheck(small_tiles, kernel, scaling):
    loss = CROLoss(
        TRAINABLE[kernel](), TargetNImportance(5.0), 0.4, num_items=N, rank_scaling=scaling, fused=True
    )
    options = {"candidate_ids": torch.tensor([3, 9, 0, 5, 9]), "target_ids": torch.tensor([3, 9, 30, 5])}
    assert torch.autograd.gradcheck(lambda *v: loss.from_embeddings(*v, **options), vectors(4, 5))


@pytest.mark.parametrize("kernel", TRAINABLE)
def test_everything_masked(small_tiles, kernel):
    loss = CROLoss(TRAINABLE[kernel](), PowerImportance(0.5), num_items=N)
    ids = torch.full((COLUMNS,), 5)
    for options in (
        {"candidate_ids": ids, "target_ids": torch.full((ROWS,), 5)},
        {"candidate_ids": torch.zeros_like(ids)},
    ):
        naive = outcome(loss, False, vectors(), **options)
        fused = outcome(loss, True, vectors(), **options)
        assert_same(fused, naive)
        assert all((gradient == 0).all() for gradient in fused[1:4])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_huge_scores_stay_finite(small_tiles, kernel, importance, dtype):
    for scaling in SCALINGS:
        loss = CROLoss(
            TRAINABLE[kernel](),
            IMPORTANCES[importance](),
            lambda_weight=0.5,
            lambda_kernel=other_kernel(kernel),
            num_items=1000,
            rank_scaling=scaling,
        )
        inputs = vectors(dtype=dtype, scale=100.0)
        naive = outcome(loss, False, inputs)
        fused = outcome(loss, True, inputs)
        assert all(entry.isfinite().all() for entry in fused)
        torch.testing.assert_close(fused[0], naive[0], rtol=1e-4, atol=1e-5)


def errors(kernel, inputs, exact, fused):
    found = outcome(CROLoss(kernel, num_items=4000), fused, inputs)[:4]
    return [
        float((one.double() - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)
    ]


@pytest.mark.parametrize(
    ("dtype", "product_dtype", "slack"),
    [
        (torch.float32, None, 5e-7),
        (torch.bfloat16, None, 0.0),
        (torch.bfloat16, torch.bfloat16, 2**-8),  # as on a GPU: each tile's product is rounded
    ],
)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_as_accurate_as_the_naive_path(monkeypatch, kernel, dtype, product_dtype, slack):
    """Judged by the distance from float64 on the same, rounded, inputs."""
    tiling = Tiling(16, 128, product_dtype)
    inputs = [
        nn.functional.normalize(entry.detach(), dim=1).to(dtype).requires_grad_()
        for entry in vectors(40, 600, width=32)
    ]
    exact_inputs = [entry.detach().double().requires_grad_() for entry in inputs]
    exact = outcome(CROLoss(kernel_of(kernel), num_items=4000), False, exact_inputs)[:4]
    monkeypatch.setattr(Tiling, "choose", lambda users, candidates: tiling)
    naive = errors(kernel_of(kernel), inputs, exact, False)
    fused = errors(kernel_of(kernel), inputs, exact, True)
    for of_fused, of_naive in zip(fused, naive, strict=True):
        assert of_fused <= 1.01 * of_naive + slack, (fused, naive)


def kernel_of(name):
    return TRAINABLE[name]()


def test_memory_does_not_hold_the_score_matrix():
    """The largest tensor that exists at any time is far smaller than (B, M)."""
    rows, columns, width = 256, 20_000, 8
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for entry in result if isinstance(result, (list, tuple)) else [result]:
                if isinstance(entry, torch.Tensor):
                    largest = max(largest, entry.untyped_storage().nbytes())
            return result

    inputs = vectors(rows, columns, dtype=torch.float32, width=width)
    ids = torch.arange(1, columns + 1)
    tiling = Tiling(16, 1024)
    with pytest.MonkeyPatch.context() as patch, Watch():
        patch.setattr(Tiling, "choose", lambda users, candidates: tiling)
        CROLoss(num_items=columns, fused=True).from_embeddings(
            *inputs, target_ids=torch.arange(1, rows + 1), candidate_ids=ids
        ).backward()
    assert largest <= 4 * 16 * columns  # one block of rows; the matrix is 16 times as large

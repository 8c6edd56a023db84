"""The fused path against the naive one."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_croloss.losses import (
    KERNELS,
    BPRLoss,
    CROLoss,
    Kernel,
    PowerImportance,
    SoftmaxLoss,
    TargetNImportance,
    base,
)
from lightning_croloss.losses.fused import loss as linear
from lightning_croloss.losses.fused import sweep as linear_sweep
from lightning_croloss.losses.fused.loss import Tiling
from tests.losses.cases import ALL_KERNELS, IMPORTANCES, SCALINGS, TRAINABLE, assert_same, other_kernel
from tests.losses.fused.cases import COLUMNS, ROWS, SMALL_TILES, N, option_sets, outcome, vectors

pytestmark = pytest.mark.filterwarnings(
    "ignore:n=", "ignore:.*negatives are drawn out of", "ignore:half of the score differences"
)
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


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(Tiling, "choose", lambda users, candidates: SMALL_TILES)


def assert_fused_is_naive(loss, **options):
    assert_same(outcome(loss, True, vectors(), **options), outcome(loss, False, vectors(), **options))


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


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_with_a_product_of_another_library(small_tiles, monkeypatch, kernel, options):
    asked = []

    def fast_product(like, rows):
        asked.append(rows)
        return lambda a, b: a @ b.T

    monkeypatch.setattr(linear_sweep, "fast_product", fast_product)
    loss = CROLoss(TRAINABLE[kernel](), None, 0.4, 0.6, other_kernel(kernel), num_items=N)
    assert_fused_is_naive(loss, **OPTIONS[options])
    assert asked


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
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
            options["target_ids"] = ids(rows)
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


class Cubic(Kernel):
    """A kernel of a user's, with φ alone."""

    name = "cubic"

    def value(self, difference, temperature):
        return torch.relu(difference / temperature + 1.0) ** 3


class Exponential2(Cubic):
    name = "exp2"
    sums_logarithms = True

    def log_value(self, difference, temperature):
        return 2.0 * difference / temperature


@pytest.mark.parametrize("kernel", [Cubic, Exponential2])
def test_a_new_kernel_needs_no_closed_form(small_tiles, kernel):
    loss = CROLoss(kernel(), PowerImportance(0.5), 0.4, 0.5, "sigmoid", num_items=N)
    for options in OPTIONS.values():
        assert_same(outcome(loss, True, vectors(), **options), outcome(loss, False, vectors(), **options))


def calls_of_fused(monkeypatch):
    calls = []
    real = linear.fused_loss
    monkeypatch.setattr(base, "fused_loss", lambda *a, **k: calls.append(1) or real(*a, **k))
    return calls


@pytest.mark.parametrize("cls", [CROLoss, SoftmaxLoss])
def test_the_path_is_chosen(monkeypatch, cls):
    calls = calls_of_fused(monkeypatch)
    monkeypatch.setattr(base, "FEWEST_SCORES", ROWS * COLUMNS)
    shared = vectors()
    by_row = (*shared[:2], torch.randn(ROWS, COLUMNS, 3, dtype=torch.float64))
    log_prob = torch.zeros(COLUMNS, requires_grad=True)

    def takes_fused(fused, inputs, **options):
        calls.clear()
        cls(num_items=N, fused=fused).from_embeddings(*inputs, **options)
        return bool(calls)

    assert takes_fused(None, shared)
    assert takes_fused(True, shared)
    assert not takes_fused(False, shared)
    assert not takes_fused(None, by_row)
    assert not takes_fused(None, shared, candidate_log_prob=log_prob)
    assert not takes_fused(True, (*shared[:2], torch.zeros(0, 3, dtype=torch.float64)))
    monkeypatch.setattr(base, "FEWEST_SCORES", ROWS * COLUMNS + 1)
    assert not takes_fused(None, shared)
    for inputs, options in ((by_row, {}), (shared, {"candidate_log_prob": log_prob})):
        with pytest.raises(ValueError, match="with fused=True candidate"):
            takes_fused(True, inputs, **options)


def test_other_losses_keep_the_naive_path():
    loss = BPRLoss(num_items=N)
    loss.fused = True
    assert loss.from_embeddings(*vectors()).requires_grad


def test_no_candidates_mean_no_loss():
    users, positives, _ = vectors()
    value = CROLoss(fused=True).from_embeddings(users, positives, torch.zeros(0, 3, dtype=torch.float64))
    assert value == 0
    assert (torch.autograd.grad(value, users)[0] == 0).all()


def test_shapes_that_do_not_fit():
    users, positives, candidates = vectors()
    loss = CROLoss(num_items=N, fused=True)
    with pytest.raises(ValueError, match=r"users and positives must be \(B, D\)"):
        loss.from_embeddings(users, positives[:3], candidates)
    with pytest.raises(ValueError, match="negative_log_prob must be"):
        loss.from_embeddings(users, positives, candidates, candidate_log_prob=torch.zeros(3))
    with pytest.raises(ValueError, match="sample_weight must be"):
        loss.from_embeddings(users, positives, candidates, sample_weight=torch.ones(3))
    with pytest.raises(ValueError, match="num_sampled must be"):
        loss.from_embeddings(users, positives, candidates, num_sampled=torch.ones(3))


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


def test_autocast_keeps_float32():
    inputs = vectors(dtype=torch.float32)
    loss = CROLoss(num_items=N)
    expected = outcome(loss, True, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(outcome(loss, True, inputs), expected, rtol=0)


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Linear(3, 4), nn.Embedding(COLUMNS, 4)
        self.loss = CROLoss(num_items=N, fused=True)

    def forward(self, users, targets):
        items = nn.functional.normalize(self.item.weight, dim=1)
        vectors = nn.functional.normalize(self.user(users), dim=1)
        ids = torch.arange(1, COLUMNS + 1)
        return self.loss.from_embeddings(
            vectors, items[targets - 1], items, target_ids=targets, candidate_ids=ids
        )


def test_a_compiled_model_around_it():
    torch.compiler.reset()
    torch.manual_seed(0)
    model = Towers()
    users, targets = torch.randn(5, 3), torch.tensor([3, 1, 9, 9, 10])
    model(users, targets).backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    torch.compile(model, backend="eager")(users, targets).backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_diagnostics_and_warnings_as_in_the_naive_path():
    inputs = vectors(scale=20.0)
    with pytest.warns(UserWarning, match="half of the score differences"):
        CROLoss(temperature=0.01, fused=True).from_embeddings(*inputs)
    with pytest.warns(UserWarning, match="10 negatives are drawn out of 3 items"):
        CROLoss(num_items=3, fused=True).from_embeddings(*vectors())
    with pytest.warns(UserWarning, match="n=2 is below"):
        CROLoss(importance=TargetNImportance(2), num_items=100, fused=True).from_embeddings(*vectors())


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


def test_tiling_is_bounded():
    for columns in (1, 5_000, 200_000, 1_000_000):
        for device in ("cpu", "meta"):
            users = torch.empty(1024, 64, device=device)
            tiling = Tiling.choose(users, torch.empty(columns, 64, device="meta"))
            assert tiling.rows * columns <= max(2**27, 64 * columns)
            assert tiling.rows >= 32
            assert tiling.width >= 256

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.losses import KERNELS, CROLoss, Importance, PowerImportance, TargetNImportance
from tests.losses import oracle
from tests.losses.cases import (
    ALL_KERNELS,
    IMPORTANCES,
    SCALINGS,
    TRAINABLE,
    assert_same,
    options,
    other_kernel,
    public_classes,
    scores,
    value_and_gradients,
)

# few negatives, or few items: no concern of these tests
pytestmark = pytest.mark.filterwarnings("ignore:n=", "ignore:.*negatives are drawn out of")


def test_the_oracle_knows_every_kernel_and_importance():
    assert set(oracle.KERNEL_FORMULAS) == set(KERNELS), "write the formula in tests/losses/oracle.py"
    importances = {importance.__name__ for importance in public_classes(Importance)}
    assert set(oracle.IMPORTANCE_FORMULAS) == importances, "write the formula in tests/losses/oracle.py"
    assert {type(make()).__name__ for make in IMPORTANCES.values()} == importances, "add a case to cases.py"


@pytest.mark.parametrize("lambda_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rank_scaling", SCALINGS)
@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_value_and_gradient_equal_the_double_loop(kernel, importance, rank_scaling, lambda_weight):
    loss = CROLoss(
        TRAINABLE[kernel](),
        IMPORTANCES[importance](),
        temperature=0.4,
        lambda_weight=lambda_weight,
        lambda_kernel=other_kernel(kernel),
        num_items=40,
        rank_scaling=rank_scaling,
    )
    positive, negative = scores()
    *expected, ranks = oracle.croloss(loss, positive, negative, **options())
    assert_same(value_and_gradients(loss, positive, negative, **options()), expected)
    assert_same([loss.diagnostics["soft_rank"]], [ranks.mean()])
    assert_same([loss.diagnostics["best_soft_rank"]], [ranks.min()])
    arguments = options()
    del arguments["sample_weight"]
    assert_same([loss.soft_rank(positive, negative, **arguments)], [ranks])


@settings(max_examples=150, derandomize=True)
@given(data=st.data())
@pytest.mark.slow
def test_any_case_equals_the_double_loop(data):
    kernel = data.draw(st.sampled_from(sorted(TRAINABLE)))
    lambda_kernel = data.draw(st.sampled_from([name for name in sorted(ALL_KERNELS) if name != kernel]))
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    num_items = data.draw(st.none() | st.integers(1, 1000))
    seed = data.draw(st.integers(0, 10_000))
    given_options = options(rows, columns, seed)
    given_options["num_sampled"] = data.draw(
        st.sampled_from([given_options["num_sampled"], given_options["num_sampled"] - 1, columns + 1])
    )
    kept = data.draw(st.sets(st.sampled_from(sorted(given_options))))
    arguments = {name: value for name, value in given_options.items() if name in kept}
    if num_items is None:
        arguments.pop("negative_log_prob", None)
    for name in ("negative_mask", "negative_log_prob"):  # either shape
        if name in arguments and data.draw(st.booleans()):
            arguments[name] = arguments[name][0]
    loss = CROLoss(
        TRAINABLE[kernel](),
        IMPORTANCES[data.draw(st.sampled_from(sorted(IMPORTANCES)))](),
        temperature=data.draw(st.floats(0.1, 1.0)),
        lambda_weight=data.draw(st.sampled_from([0.0, 0.5, 1.0])),
        lambda_kernel=ALL_KERNELS[lambda_kernel](),
        num_items=num_items,
        rank_scaling=data.draw(st.sampled_from(SCALINGS)),
        positive_scale=data.draw(st.sampled_from([1.0, 0.8, 1.25])),
    )
    positive, negative = scores(rows, columns, seed)
    *expected, _ = oracle.croloss(loss, positive, negative, **arguments)
    assert_same(value_and_gradients(loss, positive, negative, **arguments), expected, rtol=1e-7)


@pytest.mark.parametrize("rank_scaling", SCALINGS)
@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_gradcheck(kernel, importance, rank_scaling):
    loss = CROLoss(
        TRAINABLE[kernel](), IMPORTANCES[importance](), 0.4, num_items=40, rank_scaling=rank_scaling
    )
    assert torch.autograd.gradcheck(lambda *s: loss(*s, **options(2, 4)), scores(2, 4))


@pytest.mark.parametrize("lambda_kernel", ALL_KERNELS)
def test_the_lambda_weight_changes_gradients_but_never_the_value(lambda_kernel):
    kernel = "exp" if lambda_kernel == "softplus" else "softplus"
    loss = CROLoss(kernel, lambda_kernel=ALL_KERNELS[lambda_kernel]())
    results = []
    for weight in (0.0, 0.5, 1.0):
        loss.schedulable()["lambda_weight"].fill_(weight)
        results.append(value_and_gradients(loss, *scores()))
    (value, _, none), (half_value, _, half), (full_value, _, full) = results
    assert value == half_value == full_value
    torch.testing.assert_close(half, (none + full) / 2)
    assert not torch.allclose(none, full, rtol=0.05)


def test_the_hard_rank_may_give_the_lambda_weight():
    positive, negative = torch.tensor([0.5]), torch.tensor([[0.9, 0.5, 0.1]])
    loss = CROLoss("softplus", lambda_weight=1.0, lambda_kernel="heaviside").double()
    positive, negative = positive.double().requires_grad_(), negative.double().requires_grad_()
    _, _, gradient = value_and_gradients(loss, positive, negative)
    # hard rank 3 (a tie counts), W′ = 1/3, φ′ = σ(d/τ)/τ
    torch.testing.assert_close(gradient, torch.sigmoid((negative - positive) / 0.1).detach() / 0.1 / 3)


def test_soft_rank_without_draws_is_one():
    loss = CROLoss(num_items=10)
    assert loss.soft_rank(torch.zeros(2), torch.zeros(2, 0)).tolist() == [1.0, 1.0]
    ranks = loss.soft_rank(torch.zeros(2), torch.zeros(2, 5), num_sampled=torch.tensor([0, 5]))
    torch.testing.assert_close(ranks, torch.tensor([1.0, 7.0]))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_copy_computes_the_same_and_has_its_own_schedule(clone):
    loss = CROLoss("softplus", TargetNImportance(4), lambda_weight=0.5, num_items=40)
    expected = value_and_gradients(loss, *scores())
    copied = clone(loss)
    assert_same(value_and_gradients(copied, *scores()), expected, rtol=0)
    for name, value in copied.schedulable().items():
        value.fill_(1.9 if name == "n" else 0.9)
    assert_same(value_and_gradients(loss, *scores()), expected, rtol=0)
    assert not torch.allclose(value_and_gradients(copied, *scores())[2], expected[2])


def test_casts_and_devices_leave_the_schedule_alone_and_no_state_is_kept():
    loss = CROLoss("softplus", PowerImportance(0.7), temperature=0.123, lambda_weight=0.3)
    assert loss.state_dict() == {}
    for moved in (loss.half(), loss.to("meta"), loss.to(torch.bfloat16)):
        values = moved.schedulable()
        assert {name: float(v) for name, v in values.items()} == {
            "temperature": 0.123,
            "lambda_weight": 0.3,
            "alpha": 0.7,
        }
        assert all(v.dtype == torch.float64 and v.device.type == "cpu" for v in values.values())


COMPILED = [(kernel, "power 0.6") for kernel in KERNELS if KERNELS[kernel].differentiable]
COMPILED += [("softplus", importance) for importance in IMPORTANCES if importance != "power 0.6"]


@pytest.mark.parametrize(("kernel", "importance"), COMPILED)
@pytest.mark.slow
def test_compiled_equals_eager_and_follows_the_schedule(kernel, importance):
    torch.compiler.reset()
    loss = CROLoss(KERNELS[kernel](), IMPORTANCES[importance](), 0.4, 0.0, other_kernel(kernel), num_items=40)
    backend = "aot_eager" if (kernel, importance) == ("softplus", "power 0.6") else "eager"
    compiled = torch.compile(loss, backend=backend, fullgraph=True)
    positive, negative = scores(dtype=torch.float32)
    seen = []
    for factor in (1.0, 0.5):
        for name, value in loss.schedulable().items():
            value.fill_(value * factor if name != "lambda_weight" else 1.0 - factor)
        eager = value_and_gradients(loss, positive, negative, **options())
        assert_same(
            value_and_gradients(compiled, positive, negative, **options()), eager, rtol=1e-5, atol=1e-7
        )
        seen.append(eager)
    assert not torch.allclose(seen[0][2], seen[1][2], rtol=1e-2)

"""A temperature that is learned: τ = τ₀ · 10^tanh(p)."""

import copy
import math

import pytest
import torch
from torch.func import functional_call

from lightning_croloss.losses import (
    BCELoss,
    BPRLoss,
    BSLLoss,
    CROLoss,
    GBCELoss,
    HingeKernel,
    PairwiseLoss,
    PSLTanhKernel,
    RecallSurrogateLoss,
    RetrievalLoss,
    SLAtKLoss,
    SoftmaxLoss,
    TargetNImportance,
    TripletLoss,
)
from lightning_croloss.losses.kernels import KERNELS, Kernel
from lightning_croloss.losses.temperature import PARAMETER, RANGE, is_of_ratio
from tests.losses.cases import assert_same, public_classes, scores

pytestmark = pytest.mark.filterwarnings("ignore:the logits have")

RATIO = ("exp", "softplus", "hinge", "sigmoid")
P = 0.3
TAU = 0.2 * RANGE ** math.tanh(P)

LOSSES = {
    **{kernel: lambda kernel=kernel, **kwargs: CROLoss(kernel, alpha=1.2, **kwargs) for kernel in RATIO},
    "lambda": lambda **kwargs: CROLoss("softplus", TargetNImportance(3), lambda_weight=0.5, **kwargs),
    "unbiased": lambda **kwargs: CROLoss("exp", rank_scaling="unbiased", **kwargs),
    "softmax": SoftmaxLoss,
    "softmax unbiased": lambda **kwargs: SoftmaxLoss(rank_scaling="unbiased", **kwargs),
    "bpr": BPRLoss,
    "triplet": TripletLoss,
    "SL@K": lambda temperature, **kwargs: SLAtKLoss(temperature, 0.6, 3, **kwargs),
    "BSL": lambda temperature, **kwargs: BSLLoss(temperature, 1.5 * temperature, **kwargs),
    "BSL exponent": lambda **kwargs: BSLLoss(exponent=1.2, **kwargs),
    "BCE": BCELoss,
    "gBCE": GBCELoss,
    "recall": lambda **kwargs: RecallSurrogateLoss(rank_temperature=2.0, **kwargs),
}
FUSED = [
    name for name in LOSSES if name in (*RATIO, "lambda", "unbiased", "BSL", "recall") or "softmax" in name
]


def vectors(rows=5, columns=7, width=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shapes = ((rows, width), (rows, width), (columns, width))
    return [
        (0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
        for shape in shapes
    ]


def from_embeddings(loss, users, positives, candidates):
    ids = torch.arange(1, 1 + len(candidates))
    log_prob = torch.log_softmax(torch.arange(len(candidates)) / 5.0, 0).double()
    return loss.from_embeddings(
        users,
        positives,
        candidates,
        target_ids=ids[: len(users)],
        candidate_ids=ids,
        candidate_log_prob=log_prob,
        sample_weight=torch.arange(1.0, 1.0 + len(users)),
    )


def forward(loss, users, positives, candidates):
    return loss((users * positives).sum(-1), users @ candidates.T)


def in_batch(loss, users, positives, candidates):
    counts = torch.arange(1, 2 + len(users))
    return (
        loss.in_batch(users, positives, item_ids=torch.arange(len(users)), item_counts=counts, symmetric=True)
        + (candidates * 0).sum()
    )


def from_logits(loss, users, positives, candidates):
    mask = torch.arange(len(candidates)) == 6
    return loss.from_logits(users @ candidates.T, torch.arange(len(users)), mask=mask) + (positives * 0).sum()


CALLS = {call.__name__: call for call in (from_embeddings, forward, in_batch, from_logits)}
PATHS = [
    (name, call, fused)
    for name in LOSSES
    for call in CALLS
    for fused in ((True, False) if name in FUSED and call != "forward" else (None,))
]


def make(name, fused=None, p=P, **kwargs):
    kwargs |= {} if fused is None else {"fused": fused}
    loss = LOSSES[name](num_items=9, temperature=0.2, learnable_temperature=True, **kwargs).double()
    with torch.no_grad():
        loss.raw_temperature.fill_(p)
    return loss


@pytest.mark.parametrize(("name", "call", "fused"), PATHS)
def test_it_is_the_loss_at_that_temperature_and_its_gradient_is_exact(name, call, fused):
    loss = make(name, fused)
    inputs = vectors()
    value = CALLS[call](loss, *inputs)
    gradients = torch.autograd.grad(value, inputs)
    kwargs = {} if fused is None else {"fused": fused}
    constant = LOSSES[name](num_items=9, temperature=TAU, **kwargs)
    expected = CALLS[call](constant, *inputs)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    for one, other in zip(gradients, torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)
    assert loss.diagnostics["temperature"].item() == pytest.approx(TAU)

    if name == "lambda":  # whose gradient is not that of its value, for any input
        return

    constants = [entry.detach() for entry in inputs]

    def at(p):
        return CALLS[call](WithParameter(loss, p), *constants)

    assert torch.autograd.gradcheck(at, (loss.raw_temperature.detach().requires_grad_(),), atol=1e-6)


class WithParameter:
    """A loss whose parameter is another tensor, as ``functional_call`` has it, for every method."""

    def __init__(self, loss, p):
        self.loss, self.p = loss, p

    def __call__(self, *args, **kwargs):
        return functional_call(self.loss, {PARAMETER: self.p}, args, kwargs)

    def __getattr__(self, name):
        return lambda *args, **kwargs: functional_call(
            _Calling(self.loss, name), {f"loss.{PARAMETER}": self.p}, args, kwargs
        )


class _Calling(torch.nn.Module):
    def __init__(self, loss, name):
        super().__init__()
        self.loss, self.name = loss, name

    def forward(self, *args, **kwargs):
        return getattr(self.loss, self.name)(*args, **kwargs)


@pytest.mark.parametrize("fused", [True, False])
def test_the_lambda_method_weighs_the_gradient_of_the_temperature_too(fused):
    """dL/dp through d/τ: by the chain rule −log(10)(1 − tanh²p) Σ_j (∂L/∂s_j) s_j over all scores."""
    inputs = vectors()
    loss = make("lambda", fused)
    (gradient,) = torch.autograd.grad(from_embeddings(loss, *inputs), [loss.raw_temperature])
    constant = LOSSES["lambda"](num_items=9, temperature=TAU, fused=fused)
    (of_users,) = torch.autograd.grad(from_embeddings(constant, *inputs), inputs[:1])
    slope = -math.log(RANGE) * (1.0 - math.tanh(P) ** 2)
    torch.testing.assert_close(gradient, slope * (of_users * inputs[0]).sum(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_it_begins_at_the_temperature_and_stays_within_its_range(name):
    inputs = vectors(dtype=torch.float32)
    learned = LOSSES[name](num_items=9, temperature=0.2, learnable_temperature=True)
    constant = LOSSES[name](num_items=9, temperature=0.2)
    assert torch.equal(from_embeddings(learned, *inputs), from_embeddings(constant, *inputs))
    for p, tau in ((50.0, 2.0), (-50.0, 0.02)):
        learned.raw_temperature.data.fill_(p)
        assert torch.isfinite(from_embeddings(learned, *inputs))
        assert learned.diagnostics["temperature"].item() == pytest.approx(tau)


@pytest.mark.parametrize("name", LOSSES)
def test_an_optimizer_finds_a_better_temperature(name):
    loss = LOSSES[name](num_items=9, temperature=0.2, learnable_temperature=True)
    inputs = [entry.detach() for entry in vectors(dtype=torch.float32)]
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        value = from_embeddings(loss, *inputs)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]
    assert loss.diagnostics["temperature"].item() != pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("cls", public_classes(RetrievalLoss))
def test_a_loss_without_it_has_no_parameter(cls):
    assert list(cls().parameters()) == []
    assert cls().state_dict() == {}
    assert [name for name, _ in cls(learnable_temperature=True).named_parameters()] == ["raw_temperature"]
    assert "temperature" not in cls(learnable_temperature=True).schedulable()
    assert "temperature" in cls().schedulable()
    loss = cls()
    loss(*scores())
    assert "temperature" not in loss.diagnostics


@pytest.mark.parametrize("fused", [True, False])
def test_masked_logits_of_minus_infinity_leave_the_temperature_alone(fused):
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    mask = torch.arange(6) >= 4
    gradients = []
    for given in (logits, logits.masked_fill(mask, -math.inf)):
        loss = make("exp", fused)
        given = given.clone().requires_grad_()
        loss.from_logits(given, torch.arange(4), mask=mask).backward()
        gradients.append((loss.raw_temperature.grad, given.grad))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_scores_of_minus_infinity_leave_the_temperature_alone():
    loss = make("sigmoid")
    positive, negative = scores()
    hidden = negative.detach().clone()
    hidden[:, 3:] = -math.inf
    hidden.requires_grad_()
    loss(positive, hidden, num_sampled=3).backward()
    other = make("sigmoid")
    other(positive, negative[:, :3]).backward()
    torch.testing.assert_close(loss.raw_temperature.grad, other.raw_temperature.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fused", [True, False])
def test_half_precision_gives_the_gradient_to_its_precision(dtype, fused):
    wide = [entry.detach().to(dtype).double() for entry in vectors()]
    expected, loss = make("softplus", fused), make("softplus", fused).float()
    from_embeddings(expected, *wide).backward()
    value = from_embeddings(loss, *(entry.to(dtype).requires_grad_() for entry in wide))
    (2.0**16 * value).backward()  # as a gradient scaler does
    assert loss.raw_temperature.dtype == torch.float32
    assert loss.raw_temperature.grad.item() / 2**16 == pytest.approx(
        expected.raw_temperature.grad.item(), rel=0.05
    )


def test_no_negative_and_no_row_give_a_gradient_of_zero():
    for loss, args in (
        (make("exp"), (torch.zeros(2), torch.zeros(2, 0))),
        (make("exp"), (torch.zeros(0), torch.zeros(0, 3))),
    ):
        loss(*(entry.double().requires_grad_() for entry in args)).backward()
        assert loss.raw_temperature.grad == 0.0
    loss = make("exp")
    loss.from_logits(torch.randn(2, 3).double(), torch.full((2,), -100)).backward()
    assert loss.raw_temperature.grad == 0.0


def test_soft_rank_is_that_of_the_current_temperature():
    loss, constant = make("sigmoid"), CROLoss(num_items=9, temperature=TAU)
    torch.testing.assert_close(loss.soft_rank(*scores()), constant.soft_rank(*scores()))


class Power(Kernel):
    """A kernel that is no function of d / τ."""

    name = "power"

    def value(self, difference, temperature):
        return torch.sigmoid(difference) ** (1.0 / temperature)


@pytest.mark.parametrize(
    "kernel", [*(name for name in KERNELS if name.startswith("psl")), PSLTanhKernel(1.0), Power()]
)
def test_kernels_of_another_kind_are_refused(kernel):
    for build in (
        lambda: CROLoss(kernel, learnable_temperature=True),
        lambda: CROLoss("softplus", lambda_kernel=kernel, lambda_weight=0.5, learnable_temperature=True),
    ):
        with pytest.raises(
            ValueError, match=r"learnable_temperature needs a kernel of d / τ, and \w+\(.*\) is not one"
        ):
            build()


def test_which_kernels_are_of_the_ratio():
    assert {name for name, cls in KERNELS.items() if is_of_ratio(cls())} == {*RATIO, "heaviside"}
    assert is_of_ratio(HingeKernel(2.0))
    CROLoss("exp", lambda_kernel="heaviside", lambda_weight=0.5, learnable_temperature=True)


def test_a_state_loads_with_and_without_it():
    learned = CROLoss(learnable_temperature=True)
    learned.raw_temperature.data.fill_(0.5)
    again = CROLoss(learnable_temperature=True)
    again.load_state_dict(learned.state_dict())
    assert again.raw_temperature == 0.5
    CROLoss().load_state_dict(learned.state_dict())
    again.load_state_dict(CROLoss().state_dict())
    assert again.raw_temperature == 0.5
    with pytest.raises(RuntimeError, match="other"):
        CROLoss().load_state_dict({"other": torch.zeros(())})
    copied = copy.deepcopy(learned)
    assert copied.raw_temperature == 0.5
    assert copied.raw_temperature is not learned.raw_temperature


class Plain(PairwiseLoss):
    """A user's loss, whose constructor is that of its base."""

    def pair_losses(self, difference):
        return difference.exp()


def test_a_loss_of_ones_own_has_it_for_nothing():
    loss = Plain(0.2, learnable_temperature=True).double()
    loss.raw_temperature.data.fill_(P)
    torch.testing.assert_close(loss(*scores()), Plain(TAU)(*scores()))


@pytest.mark.slow
def test_compiled_equals_eager():
    torch.compiler.reset()
    loss = make("exp", fused=False).float()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    inputs = scores(dtype=torch.float32)
    results = []
    for call in (loss, compiled):
        value = call(*inputs)
        results.append((value, *torch.autograd.grad(value, (*inputs, loss.raw_temperature))))
    assert_same(results[1], results[0], rtol=1e-5, atol=1e-7)
    assert loss.diagnostics["temperature"].item() == pytest.approx(TAU)

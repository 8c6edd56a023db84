"""The rivals: each against its published formula as a loop, and what is said of it."""

import math
from math import exp, log

import pytest
import torch
from torch.nn import functional

from lightning_croloss.losses import (
    BCELoss,
    BSLLoss,
    CROLoss,
    GBCELoss,
    RecallSurrogateLoss,
    SLAtKLoss,
    SoftmaxLoss,
)
from lightning_croloss.losses import sl_at_k as sl_at_k_module
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.batches.threshold import top_k_threshold
from lightning_croloss.losses.kernels import FAR_BELOW
from lightning_croloss.losses.log_sums import differences_that_count
from tests.losses.cases import assert_same, options, scores, value_and_gradients
from tests.losses.fused.cases import QUIET, assert_fused_is_naive, option_sets
from tests.losses.rivals import naive, sigmoid, threshold

pytestmark = QUIET
N = 40


def sl_at_k(tau, weight_tau, k, positive=0.0):
    def formula(own, others, u, draws, items):
        total = sum(w * exp((s - own) / tau) for s, w in zip(others, u, strict=True)) + positive
        return sigmoid((own - threshold(k, others, u, draws, items)) / weight_tau) * log(total)

    return formula


def bsl(tau1, tau2, exponent):
    def formula(own, others, u):
        total = sum(w * exp(s / tau2) for s, w in zip(others, u, strict=True))
        return -log(exp(own / tau1) / total**exponent)

    return formula


def gbce(tau, t):
    def formula(own, others, u, draws, items):
        a = min(1.0, draws / (items - 1))
        beta = a * (t * (1 - 1 / a) + 1 / a)
        total = log(sigmoid(own / tau) ** beta)
        total += sum(w * log(1 - sigmoid(s / tau)) for s, w in zip(others, u, strict=True))
        return -total / (draws + 1)

    return formula


def recall(tau1, tau2, ks, scaling):
    def formula(own, others, u, draws, items):
        ahead = sum(w * sigmoid((s - own) / tau1) for s, w in zip(others, u, strict=True))
        ratio = items / draws
        rank = 1 + ratio * ahead if scaling == "unbiased" else ratio * (1 + ahead)
        return 1 - sum(sigmoid((k - rank) / t) for k, t in zip(ks, tau2, strict=True)) / len(ks)

    return formula


CASES = {
    "SL@K": (lambda **kw: SLAtKLoss(0.2, 0.5, 24, **kw), sl_at_k(0.2, 0.5, 24)),
    "SL@K, small K": (lambda **kw: SLAtKLoss(0.3, 0.2, 3, **kw), sl_at_k(0.3, 0.2, 3)),
    "SL@K with the positive": (
        lambda **kw: SLAtKLoss(0.2, k=30, include_positive=True, **kw),
        sl_at_k(0.2, 1.0, 30, positive=1.0),
    ),
    "BSL": (lambda **kw: BSLLoss(0.2, 0.3, **kw), bsl(0.3, 0.2, 0.2 / 0.3)),
    "BSL, one temperature": (lambda **kw: BSLLoss(0.2, **kw), bsl(0.2, 0.2, 1.0)),
    "BSL of the authors' code": (lambda **kw: BSLLoss(0.2, exponent=1.2, **kw), bsl(0.2, 0.2, 1.2)),
    "BSL with all": (lambda **kw: BSLLoss(0.2, 0.4, exponent=1.2, **kw), bsl(0.4, 0.2, 1.2)),
    "BCE": (lambda **kw: BCELoss(0.5, **kw), gbce(0.5, 0.0)),
    "gBCE": (lambda **kw: GBCELoss(0.5, **kw), gbce(0.5, 0.75)),
    "gBCE, calibrated": (lambda **kw: GBCELoss(0.5, 1.0, **kw), gbce(0.5, 1.0)),
    "recall": (
        lambda **kw: RecallSurrogateLoss(0.1, 8.0, (2, 9), **kw),
        recall(0.1, (8.0, 8.0), (2, 9), "unbiased"),
    ),
    "recall, reference": (
        lambda **kw: RecallSurrogateLoss(0.2, [1.0, 20.0], (4, 30), rank_scaling="reference", **kw),
        recall(0.2, (1.0, 20.0), (4, 30), "reference"),
    ),
}
#: Every set of options, and the scores to go with it, in which no row is left without a negative.
GIVEN = {
    "plain": {},
    "mask": {"negative_mask": options()["negative_mask"]},
    "logq": {"negative_log_prob": options()["negative_log_prob"]},
    "all": options(),
}
every_case = pytest.mark.parametrize("name", CASES)


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("size", [None, N])
@every_case
def test_is_the_published_formula(name, size, given):
    if size is None and "negative_log_prob" in GIVEN[given]:
        size = 17
    build, formula = CASES[name]
    found = build(num_items=size)(*scores(), **GIVEN[given])
    torch.testing.assert_close(found, naive(formula, size)(*scores(), **GIVEN[given]), rtol=1e-9, atol=1e-12)


@every_case
def test_gradients_are_exact(name, monkeypatch):
    loss = CASES[name][0](num_items=N, reduction="none")

    def check(test, rows, columns, given):
        inputs = scores(rows, columns)
        threshold_now = of_draws(inputs[1].detach(), 24, N)

        def call(positive, negative):  # the threshold of SL@K is a constant
            relative = threshold_now - positive.detach()
            monkeypatch.setattr(sl_at_k_module, "top_k_threshold", lambda *given: relative)
            return loss(positive, negative, **given)

        assert test(call, inputs)

    check(torch.autograd.gradcheck, 4, 6, options())
    check(torch.autograd.gradcheck, 4, 6, GIVEN["mask"])
    check(torch.autograd.gradgradcheck, 2, 3, options(2, 3))


@pytest.mark.parametrize("given", option_sets())
@pytest.mark.parametrize("name", [name for name in CASES if name in ("BSL", "recall", "recall, reference")])
def test_both_paths_agree(name, given):
    assert_fused_is_naive(CASES[name][0](num_items=N), **option_sets()[given])


# --- SL@K ------------------------------------------------------------------------------------------------


def of_draws(negative, k, num_items, **given):
    given = {"negative_mask": None, "negative_log_prob": None, "num_sampled": None} | given
    batch = ScoredBatch.check(torch.zeros(len(negative)), negative, *given.values(), num_items)
    return top_k_threshold(differences_that_count(batch), batch.draws, k)


def test_the_threshold_of_the_whole_catalogue_tells_the_top_k():
    """A positive is in the top k exactly if it scores above the k-th best of all others."""
    every = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    own = torch.arange(50) % 30
    for k in (1, 4, 30):
        hit = torch.arange(30) == own.unsqueeze(1)
        positive = every[hit]
        in_top = (every > positive.unsqueeze(1)).sum(1) < k
        ahead = positive >= of_draws(every, k, 30, negative_mask=hit)
        if k < 30:  # with as many as there are items all are in it
            assert torch.equal(in_top, ahead)
    assert torch.equal(of_draws(every, 99, 30), every.amin(1))


def test_the_position_is_rounded_up_and_masked_candidates_have_none():
    negative = torch.arange(12.0).expand(2, 12)
    assert of_draws(negative, 7, 12).tolist() == [5.0, 5.0]
    assert of_draws(negative, 20, 80).tolist() == [9.0, 9.0]  # 20 · 12 / 80 = 3 exactly
    assert of_draws(negative, 21, 80).tolist() == [8.0, 8.0]
    mask = torch.stack([torch.arange(12) >= 10, torch.arange(12) < 10])
    assert of_draws(negative, 20, 80, negative_mask=mask).tolist() == [7.0, 10.0]  # two are left in row 1
    assert of_draws(negative, 20, 80, num_sampled=torch.tensor([4, 8])).tolist() == [11.0, 10.0]
    assert (of_draws(negative, 3, 12, negative_mask=torch.ones(12).bool()) == FAR_BELOW).all()


@pytest.mark.parametrize(("k", "num_items"), [(500, 135_595), (31, 544_365), (30, 1_118_637)])
@pytest.mark.parametrize("told", [False, True])
def test_the_position_is_exact_in_large_catalogues(k, num_items, told):
    """In float32 k N / N is above k for these."""
    every = torch.arange(num_items, dtype=torch.float32).unsqueeze(0)
    given = {"num_sampled": torch.tensor([num_items])} if told else {}
    assert of_draws(every, k, num_items, **given).item() == num_items - k


def test_the_position_is_exact_of_more_items_than_float32_counts():
    negative = torch.arange(12.0).expand(1, 12)
    assert of_draws(negative, 3, 20_000_001, num_sampled=6_666_667).tolist() == [11.0]


def test_probabilities_that_are_equal_change_nothing():
    negative = torch.randn(5, 200, generator=torch.Generator().manual_seed(0))
    for k in (1, 20, 333):
        uniform = torch.full((200,), -math.log(1000))
        assert torch.equal(
            of_draws(negative, k, 1000), of_draws(negative, k, 1000, negative_log_prob=uniform)
        )


def test_samples_estimate_the_threshold_of_the_catalogue():
    generator = torch.Generator().manual_seed(0)
    catalogue = torch.randn(2_000, generator=generator)
    popularity = torch.softmax(0.5 * torch.randn(2_000, generator=generator) + 0.5 * catalogue, 0)
    right = catalogue.sort(descending=True).values
    for weights, given in ((torch.ones(2_000), False), (popularity, True)):
        draws = torch.multinomial(weights.expand(300, -1), 400, True, generator=generator)
        log_prob = popularity.log()[draws] if given else None
        found = of_draws(catalogue[draws], 100, 2_000, negative_log_prob=log_prob)
        assert right[120] < found.mean() < right[80]


def test_the_weight_has_a_gradient_and_the_threshold_has_none():
    positive, negative = scores()
    loss = SLAtKLoss(0.2, 0.5, 3, reduction="none")
    value = loss(positive, negative)
    (pull,) = torch.autograd.grad(value.sum(), positive)
    each = torch.logsumexp((negative - positive.unsqueeze(1)) / 0.2, 1)
    weight = torch.sigmoid((positive - negative.topk(3).values[:, 2]) / 0.5)
    torch.testing.assert_close(value, weight * each)
    torch.testing.assert_close(pull, weight * (1 - weight) / 0.5 * each - weight / 0.2)
    assert loss.diagnostics["weight"] == weight.mean()


def test_a_hit_of_the_positive_has_no_position():
    users, items = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)).double()
    candidates = torch.cat([items, torch.randn(5, 8).double()])
    loss = SLAtKLoss(0.2, 0.5, 2, num_items=8)
    found = loss.from_embeddings(
        users, items, candidates, target_ids=torch.arange(1, 4), candidate_ids=torch.arange(1, 9)
    )
    expected = [
        sl_at_k(0.2, 0.5, 2)(
            own=float(users[i] @ items[i]),
            others=(candidates @ users[i]).tolist(),
            u=[float(j != i) for j in range(8)],
            draws=8,
            items=8,
        )
        for i in range(3)
    ]
    assert found.item() == pytest.approx(sum(expected) / 3)


def test_where_all_items_are_far_behind_it_is_softmax():
    positive, negative = scores()
    loss = SLAtKLoss(0.2, 1e-6, 6, include_positive=True)  # every positive is in the top 6, or the last
    above = negative.detach() - 10.0
    torch.testing.assert_close(loss(positive, above), SoftmaxLoss(0.2)(positive, above))


@pytest.mark.parametrize("k", [0, -3])
def test_k_is_at_least_1(k):
    with pytest.raises(ValueError, match=f"k must be at least 1, got {k}"):
        SLAtKLoss(k=k)


@pytest.mark.slow
def test_sl_at_k_compiled_equals_eager():
    torch.compiler.reset()
    loss = SLAtKLoss(k=9, num_items=N)
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    given = {"negative_mask": options()["negative_mask"]}
    inputs = scores(dtype=torch.float32)
    found, expected = (value_and_gradients(call, *inputs, **given) for call in (compiled, loss))
    assert_same(found, expected, rtol=1e-5)


# --- BSL -------------------------------------------------------------------------------------------------


def test_with_one_positive_a_row_bsl_is_softmax_without_its_positive_times_a_ratio():
    def softmax(positive, negative):
        return 0.2 / 0.3 * torch.logsumexp((negative - positive.unsqueeze(1)) / 0.2, 1).mean()

    assert_same(value_and_gradients(BSLLoss(0.2, 0.3), *scores()), value_and_gradients(softmax, *scores()))


def test_bsl_sums_that_are_nothing_to_1():
    """Without the positive's own term: −s/τ far below the smallest number of float32 is told apart."""
    positive = torch.tensor([1.0, 1.0], requires_grad=True)
    negative = torch.tensor([[-1.0, -0.9], [-0.8, -1.0]], requires_grad=True)
    for fused in (None, True):
        found = BSLLoss(0.01, fused=fused, reduction="none")(positive, negative)
        torch.testing.assert_close(found, torch.tensor([-190.0, -180.0]))


@pytest.mark.parametrize("low", [-math.inf, -1e9, -65504.0, torch.finfo(torch.float32).min])
@pytest.mark.parametrize(
    "build",
    [
        BSLLoss,
        lambda **given: BSLLoss(fused=True, **given),
        lambda **given: BSLLoss(exponent=1.2, **given),
        SLAtKLoss,
        lambda **given: SLAtKLoss(include_positive=True, **given),
    ],
    ids=["BSL", "BSL fused", "BSL exponent", "SL@K", "SL@K positive"],
)
def test_a_row_that_is_masked_by_its_values_costs_nothing(build, low):
    loss = build(reduction="none")
    positive = torch.tensor([0.3, -0.2], requires_grad=True)
    negative = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[False], [True]]).expand(2, 5)
    expected = loss(positive, negative, negative_mask=mask)
    masked = negative.masked_fill(mask, low).requires_grad_()
    found = loss(positive, masked)
    torch.testing.assert_close(found, expected)
    assert found[1] == 0.0
    assert not found[1].isnan()
    for gradient in torch.autograd.grad(found.sum(), (positive, masked)):
        assert (gradient[1] == 0).all()
    logits = torch.cat([positive.unsqueeze(1), masked], dim=1)
    torch.testing.assert_close(loss.from_logits(logits, torch.zeros(2, dtype=torch.long)), expected)


def test_an_exponent_cannot_be_fused():
    with pytest.raises(ValueError, match=r"with exponent .* leave fused out"):
        BSLLoss(exponent=1.1, fused=True)
    loss = BSLLoss(exponent=1.1, num_items=N)
    assert loss.fused is False
    large = [torch.randn(n, 8) for n in (600, 600, 700)]
    scored = loss((large[0] * large[1]).sum(1), large[0] @ large[2].T)
    torch.testing.assert_close(loss.from_embeddings(*large), scored)


# --- BCE -------------------------------------------------------------------------------------------------


def test_bce_is_that_of_torch():
    positive, negative = scores()
    logits = torch.cat([positive.unsqueeze(1), negative], 1) / 0.1
    labels = torch.zeros(4, 7).double()
    labels[:, 0] = 1
    for loss in (BCELoss(num_items=N), GBCELoss(calibration=0.0, num_items=N)):
        torch.testing.assert_close(
            loss(positive, negative), functional.binary_cross_entropy_with_logits(logits, labels)
        )


def test_with_the_whole_catalogue_gbce_is_bce():
    assert_same(value_and_gradients(GBCELoss(), *scores()), value_and_gradients(BCELoss(), *scores()))
    assert GBCELoss(num_items=7)(*scores()) == BCELoss()(*scores())  # all six others are drawn


@pytest.mark.parametrize("calibration", [-0.1, 1.1, math.nan])
def test_the_calibration_lies_between_0_and_1(calibration):
    with pytest.raises(ValueError, match="calibration must be between 0 and 1"):
        GBCELoss(calibration=calibration)


# --- the surrogate of recall -----------------------------------------------------------------------------


def test_the_surrogate_comes_to_recall():
    """With small temperatures it is the share of ks that the rank is beyond."""
    positive, negative = scores(50, 40)
    rank = 1 + (negative > positive.unsqueeze(1)).sum(1)
    recall_at = torch.stack([(rank <= k).double() for k in (3, 10, 20)], 1).mean(1)
    loss = RecallSurrogateLoss(1e-7, 1e-3, (3, 10, 20), reduction="none")
    shifted = torch.where((rank.unsqueeze(1) == torch.tensor([3, 10, 20])).any(1), math.nan, 1 - recall_at)
    kept = ~shifted.isnan()  # at R = k it is a half
    torch.testing.assert_close(loss(positive, negative)[kept], shifted[kept])


def test_the_rank_is_that_of_croloss():
    for scaling in ("reference", "unbiased"):
        loss = RecallSurrogateLoss(0.2, num_items=N, rank_scaling=scaling)
        loss(*scores(), **options())
        rank = CROLoss("sigmoid", temperature=0.2, num_items=N, rank_scaling=scaling).soft_rank(
            *scores(), **{key: value for key, value in options().items() if key != "sample_weight"}
        )
        torch.testing.assert_close(loss.diagnostics["soft_rank"], rank.mean())
        torch.testing.assert_close(loss.diagnostics["best_soft_rank"], rank.min())


@pytest.mark.parametrize("ks", [(), (0,), (3, -1)])
def test_ks_are_ranks(ks):
    with pytest.raises(ValueError, match="ks must be numbers of at least 1"):
        RecallSurrogateLoss(ks=ks)


def test_temperatures_of_ranks_are_as_many_as_ks():
    with pytest.raises(ValueError, match=r"one for each of the 2 ks, got \[1.0, 2.0, 3.0\]"):
        RecallSurrogateLoss(ks=(1, 2), rank_temperature=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"rank_temperature must be a positive number, got 0.0"):
        RecallSurrogateLoss(ks=(1, 2), rank_temperature=[1.0, 0.0])
    each = RecallSurrogateLoss(ks=(1, 2), rank_temperature=[2.0, 2.0])
    assert each(*scores()) == RecallSurrogateLoss(ks=(1, 2), rank_temperature=2.0)(*scores())
    assert set(each.schedulable()) == {"temperature"}


# --- PSL -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["psl_tanh", "psl_relu", "psl_atan"])
def test_psl_is_croloss_and_comes_to_the_published_code_where_negatives_are_many(kernel):
    g = {"psl_tanh": torch.tanh, "psl_relu": lambda x: x, "psl_atan": torch.atan}[kernel]
    positive, negative = scores(5, 3000)
    difference = negative - positive.unsqueeze(1)
    published = torch.logsumexp(torch.log((1 + g(difference / 2.0)).clamp(min=1e-12)) / 0.1, 1)
    found = CROLoss(kernel, alpha=1.0, temperature=0.1, reduction="none")(positive, negative)
    torch.testing.assert_close(found, torch.logaddexp(published, torch.zeros(5).double()))
    torch.testing.assert_close(found, published, rtol=1e-3, atol=0.0)

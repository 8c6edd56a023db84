"""What CROLoss turns into for special settings: the table of the mathematics, in value and gradient."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, logsigmoid

from lightning_croloss.losses import KERNELS, BPRLoss, CROLoss, PowerImportance, SoftmaxLoss, TripletLoss
from tests.losses.cases import (
    IMPORTANCES,
    LOSSES,
    POINTWISE,
    SCALINGS,
    TRAINABLE,
    assert_same,
    options,
    scores,
    value_and_gradients,
)

pytestmark = pytest.mark.filterwarnings("ignore:n=")  # few negatives: no concern of these tests

TAU = 0.4
ROWS, M, N = 4, 6, 40


def croloss(kernel, alpha, **kwargs):
    return CROLoss(kernel, PowerImportance(alpha), TAU, **kwargs)


def softmax_probability(positive, negative):
    return torch.cat([positive.unsqueeze(1), negative], 1).div(TAU).softmax(1)[:, 0]


def plain_cross_entropy(positive, negative):
    logits = torch.cat([positive.unsqueeze(1), negative], 1)
    return cross_entropy(logits, torch.zeros(logits.shape[0], dtype=torch.long))


def same(first, second, **kwargs):
    for seed in range(3):
        assert_same(
            value_and_gradients(first, *scores(ROWS, M, seed), **kwargs),
            value_and_gradients(second, *scores(ROWS, M, seed)),
        )


@pytest.mark.parametrize("num_items", [None, M])
@pytest.mark.parametrize("rank_scaling", SCALINGS)
def test_exp_at_alpha_1_is_cross_entropy(rank_scaling, num_items):
    loss = croloss("exp", 1.0, num_items=num_items, rank_scaling=rank_scaling)
    same(loss, lambda p, n: plain_cross_entropy(p / TAU, n / TAU))
    same(loss, SoftmaxLoss(TAU, num_items, rank_scaling))


def test_exp_at_alpha_1_with_q_corrects_the_negatives_only():
    log_q = options(ROWS, M)["negative_log_prob"]

    def reference(p, n):
        return plain_cross_entropy(p / TAU, n / TAU - log_q - math.log(N))

    def unbiased(p, n):  # the textbook sampled softmax
        return plain_cross_entropy(p / TAU, n / TAU - log_q - math.log(M))

    same(
        croloss("exp", 1.0, num_items=N),
        lambda p, n: reference(p, n) + math.log(N / M),
        negative_log_prob=log_q,
    )
    same(croloss("exp", 1.0, num_items=N, rank_scaling="unbiased"), unbiased, negative_log_prob=log_q)
    same(SoftmaxLoss(TAU, N), reference, negative_log_prob=log_q)
    same(SoftmaxLoss(TAU, N, "unbiased"), unbiased, negative_log_prob=log_q)


@pytest.mark.parametrize("rank_scaling", SCALINGS)
def test_exp_at_alpha_1_is_softmax_loss_with_every_option(rank_scaling):
    positive, negative = scores(ROWS, M)
    arguments = options(ROWS, M)
    cro = value_and_gradients(
        croloss("exp", 1.0, num_items=N, rank_scaling=rank_scaling), positive, negative, **arguments
    )
    softmax = value_and_gradients(SoftmaxLoss(TAU, N, rank_scaling), positive, negative, **arguments)
    if rank_scaling == "reference":  # log r, which has no gradient
        log_ratio = torch.log(N / arguments["num_sampled"].double())
        weights = arguments["sample_weight"]
        softmax = (softmax[0] + (weights * log_ratio).sum() / weights.sum(), *softmax[1:])
    assert_same(cro, softmax)


def test_exp_at_alpha_2_is_the_probability_of_the_negatives():
    factor = (M + 1) * math.log(M + 1) / M
    same(croloss("exp", 2.0), lambda p, n: (1 - softmax_probability(p, n)).mean() * factor)


@pytest.mark.parametrize("q", [0.2, 0.7, 1.0, 1.5])
def test_exp_above_alpha_1_is_generalised_cross_entropy(q):
    factor = q * math.log(M + 1) / (1 - (M + 1) ** -q)
    same(croloss("exp", 1 + q), lambda p, n: ((1 - softmax_probability(p, n) ** q) / q).mean() * factor)


def test_softplus_at_alpha_0_is_bpr():
    factor = math.log(M + 1) / M
    same(
        croloss("softplus", 0.0),
        lambda p, n: -logsigmoid((p.unsqueeze(1) - n) / TAU).sum(1).mean() * factor,
    )
    bpr = BPRLoss(TAU)
    same(croloss("softplus", 0.0), lambda p, n: bpr(p, n) * math.log(M + 1))


def test_hinge_at_alpha_0_is_triplet():
    factor = math.log(M + 1) / M
    same(
        croloss("hinge", 0.0),
        lambda p, n: ((n - p.unsqueeze(1)) / TAU + 0.5).clamp(min=0).sum(1).mean() * factor,
    )
    triplet = TripletLoss(0.5, TAU)
    same(croloss("hinge", 0.0), lambda p, n: triplet(p, n) * math.log(M + 1))


@pytest.mark.parametrize(
    ("kernel", "rival"), [("softplus", BPRLoss(TAU, N)), ("hinge", TripletLoss(0.5, TAU, N))]
)
def test_alpha_0_is_the_pairwise_loss_with_every_option(kernel, rival):
    positive, negative = scores(ROWS, M)
    expected = value_and_gradients(rival, positive, negative, **options(ROWS, M))
    loss = croloss(kernel, 0.0, num_items=N, rank_scaling="unbiased")
    result = value_and_gradients(loss, positive, negative, **options(ROWS, M))
    assert_same(result, [math.log(N + 1) * part for part in expected])


@pytest.mark.parametrize(
    ("kernel", "g"),
    [
        ("psl_tanh", lambda x: 1 + torch.tanh(x)),
        ("psl_relu", lambda x: (1 + x).clamp(min=0)),
        ("psl_atan", lambda x: (1 + torch.atan(x)).clamp(min=0)),
    ],
)
def test_psl_at_alpha_1_is_psl_with_its_positive_term(kernel, g):
    def psl(positive, negative):
        return (1 + (g((negative - positive.unsqueeze(1)) / 2) ** (1 / TAU)).sum(1)).log().mean()

    same(croloss(kernel, 1.0), psl)


EVERY_LOSS = [
    pytest.param(lambda make=make: make(num_items=N), id=name)
    for name, make in LOSSES.items()
    if name not in POINTWISE
]
EVERY_LOSS += [
    pytest.param(lambda k=k, i=i: CROLoss(TRAINABLE[k](), IMPORTANCES[i](), TAU, num_items=N), id=f"{k}, {i}")
    for k in TRAINABLE
    for i in IMPORTANCES
]


@pytest.mark.parametrize("make", EVERY_LOSS)
def test_shifts_permutations_and_padding_change_nothing(make):
    loss = make()
    positive, negative = scores(ROWS, M)
    arguments = options(ROWS, M)
    expected = value_and_gradients(loss, positive, negative, **arguments)

    shift = torch.tensor([3.0, -2.0, 0.5, 100.0], dtype=torch.float64)
    shifted = value_and_gradients(
        lambda p, n, **kw: loss(p + shift, n + shift.unsqueeze(1), **kw), positive, negative, **arguments
    )
    assert_same(shifted, expected, rtol=1e-8, atol=1e-10)

    order = torch.randperm(M, generator=torch.Generator().manual_seed(0))
    permuted = {
        name: value[:, order] if name in ("negative_mask", "negative_log_prob") else value
        for name, value in arguments.items()
    }
    assert_same(
        value_and_gradients(lambda p, n, **kw: loss(p, n[:, order], **kw), positive, negative, **permuted),
        expected,
    )

    # padding: any score, probability 0
    padded = arguments | {
        "negative_mask": torch.cat([arguments["negative_mask"], torch.ones(ROWS, 3, dtype=torch.bool)], 1),
        "negative_log_prob": torch.cat(
            [arguments["negative_log_prob"], torch.full((ROWS, 3), -math.inf, dtype=torch.float64)], 1
        ),
    }
    filler = torch.tensor([50.0, 0.0, -math.inf], dtype=torch.float64).expand(ROWS, 3)
    assert_same(
        value_and_gradients(
            lambda p, n, **kw: loss(p, torch.cat([n, filler], 1), **kw), positive, negative, **padded
        ),
        expected,
    )


@pytest.mark.parametrize("kernel", [name for name in KERNELS if KERNELS[name].differentiable])
def test_without_a_catalogue_size_the_rank_is_among_the_draws(kernel):
    same(CROLoss(kernel, temperature=TAU), CROLoss(kernel, temperature=TAU, num_items=M))
    draws = torch.tensor([9, 6, 7, 30])
    each = [CROLoss(kernel, temperature=TAU, num_items=int(d)) for d in draws]
    same(
        CROLoss(kernel, temperature=TAU),
        lambda p, n: torch.stack(
            [loss(p[i : i + 1], n[i : i + 1], num_sampled=int(draws[i])) for i, loss in enumerate(each)]
        ).mean(),
        num_sampled=draws,
    )

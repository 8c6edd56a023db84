import math

import pytest
import torch

from lightning_croloss.losses import CROLoss, SoftmaxLoss
from tests.losses.cases import (
    IMPORTANCES,
    LOSSES,
    NOT_ZERO_AT_BEST,
    SCALINGS,
    TRAINABLE,
    assert_same,
    options,
    other_kernel,
    scores,
    value_and_gradients,
)

pytestmark = pytest.mark.filterwarnings("ignore:n=", "ignore:the scores of a row")
every_loss = pytest.mark.parametrize("name", LOSSES)


def finite(results):
    return all(result.isfinite().all() for result in results)


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_huge_scores_give_finite_values_and_gradients(kernel, importance):
    for dtype in (torch.float32, torch.float64):
        positive = torch.tensor([1e4, -1e4, 1e4, 0.0], dtype=dtype).requires_grad_()
        negative = torch.tensor([[-1e4] * 3, [1e4] * 3, [1e4, -1e4, 0.0], [0.0, 1e4, -1e4]], dtype=dtype)
        negative.requires_grad_()
        for rank_scaling in SCALINGS:
            for weight in (0.0, 0.5, 1.0):
                loss = CROLoss(
                    TRAINABLE[kernel](),
                    IMPORTANCES[importance](),
                    lambda_weight=weight,
                    lambda_kernel=other_kernel(kernel),
                    num_items=1000,
                    rank_scaling=rank_scaling,
                )
                results = value_and_gradients(loss, positive, negative)
                assert finite(results), (dtype, rank_scaling, weight)
                ranks = loss.soft_rank(positive, negative)
                assert ranks.isfinite().all()
                assert ranks[0] < ranks[2] < ranks[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_opposite_cosines_and_ties_have_finite_gradients(kernel, dtype):
    """g = 0 for psl_relu at d = −2, the tip of its kink."""
    negative = torch.tensor([[-1.0, 1.0, -1.0 + 1e-6], [-1.0, -1.0, -1.0]], dtype=dtype).requires_grad_()
    for temperature in (0.05, 0.5, 1.0):
        loss = CROLoss(TRAINABLE[kernel](), temperature=temperature)
        assert finite(value_and_gradients(loss, torch.ones(2, dtype=dtype).requires_grad_(), negative))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_loss
def test_huge_scores_in_every_loss(name, dtype):
    positive = torch.tensor([1e4, -1e4], dtype=dtype).requires_grad_()
    negative = torch.tensor([[-1e4, 0.0], [1e4, 0.0]], dtype=dtype).requires_grad_()
    assert finite(value_and_gradients(LOSSES[name](), positive, negative))


@every_loss
def test_no_negatives_mean_no_loss(name):
    loss = LOSSES[name](num_items=10)
    positive = torch.randn(3, requires_grad=True)
    value = loss(positive, torch.zeros(3, 0, requires_grad=True))
    assert value == 0
    assert torch.equal(torch.autograd.grad(value, positive)[0], torch.zeros(3))
    users, items = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    ids = torch.zeros(0, dtype=torch.long)
    value = loss.from_embeddings(
        users,
        items,
        torch.zeros(0, 4),
        target_ids=torch.arange(3),
        candidate_ids=ids,
        excluded_ids=torch.ones(3, 1).long(),
    )
    assert value == 0
    assert torch.equal(torch.autograd.grad(value, users)[0], torch.zeros(3, 4))


@every_loss
def test_a_row_without_draws_has_no_loss(name):
    loss = LOSSES[name](num_items=40)
    positive, negative = scores()
    arguments = options() | {"num_sampled": torch.tensor([0, 6, 0, 5])}
    value, positive_grad, negative_grad = value_and_gradients(loss, positive, negative, **arguments)
    assert (positive_grad[[0, 2]] == 0).all()
    assert (negative_grad[[0, 2]] == 0).all()
    assert (positive_grad[[1, 3]] < 0).all()
    kept = [1, 3]
    alone = loss(positive[kept], negative[kept], **{key: value[kept] for key, value in arguments.items()})
    weights = arguments["sample_weight"]
    torch.testing.assert_close(value, alone.detach() * weights[kept].sum() / weights.sum())
    assert loss(positive, negative, num_sampled=0) == 0


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("kernel", TRAINABLE)
def test_all_negatives_masked(kernel, importance):
    loss = CROLoss(TRAINABLE[kernel](), IMPORTANCES[importance](), 0.4)
    results = value_and_gradients(loss, *scores(), negative_mask=torch.ones(4, 6, dtype=torch.bool))
    assert finite(results)
    assert (results[1] == 0).all()
    assert (results[2] == 0).all()
    ranks = loss.soft_rank(*scores(), negative_mask=torch.ones(6, dtype=torch.bool))
    torch.testing.assert_close(ranks, torch.ones_like(ranks))


@every_loss
def test_all_negatives_masked_in_every_loss(name):
    mask = torch.ones(4, 6, dtype=torch.bool)
    value, positive, negative = value_and_gradients(LOSSES[name](), *scores(), negative_mask=mask)
    assert name in NOT_ZERO_AT_BEST or value.abs() < 1e-12
    assert (positive < 0 if "BCE" in name else positive == 0).all()
    assert (negative == 0).all()


@every_loss
def test_one_row_is_the_mean_of_itself(name):
    loss = LOSSES[name]()
    positive, negative = scores()
    each = torch.stack([loss(positive[i : i + 1], negative[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(loss(positive, negative), each.mean())
    weight = torch.tensor([0.0, 1.0, 3.0, 0.5])
    torch.testing.assert_close(
        loss(positive, negative, sample_weight=weight), (each * weight).sum() / weight.sum()
    )


@every_loss
def test_weights_of_zero(name):
    results = value_and_gradients(LOSSES[name](), *scores(), sample_weight=torch.zeros(4))
    assert all((result == 0).all() for result in results)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_loss
def test_half_precision_scores_are_computed_in_float32(name, dtype):
    loss = LOSSES[name](num_items=40)
    positive, negative = scores(dtype=dtype)
    value, *gradients = value_and_gradients(loss, positive, negative)
    assert value.dtype == torch.float32
    assert [gradient.dtype for gradient in gradients] == [dtype, dtype]
    single = [scores_.detach().float().requires_grad_() for scores_ in (positive, negative)]
    expected = value_and_gradients(loss, *single)
    assert value == expected[0]
    assert_same(gradients, [gradient.to(dtype) for gradient in expected[1:]])


@every_loss
def test_autocast(name):
    loss = LOSSES[name](num_items=40)
    positive, negative = scores(dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    users, items, candidates = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=-1) for n in (4, 4, 6)
    )
    plain, embedded = loss(positive, negative), loss.from_embeddings(users, items, candidates)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(positive, negative), plain)
        lower = loss.from_embeddings(users, items, candidates)
    assert lower.dtype == torch.float32
    torch.testing.assert_close(lower, embedded, rtol=0.03, atol=0.0)


def test_bfloat16_counts_beyond_256():
    loss = CROLoss("sigmoid", temperature=1.0)
    value = loss(torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, 2001, dtype=torch.bfloat16))
    assert value.item() == pytest.approx(math.log(1 + 2001 / 2), rel=1e-6)


@pytest.mark.parametrize("rank_scaling", SCALINGS)
def test_single_precision_is_close_to_double(rank_scaling):
    for loss in (
        *(CROLoss(TRAINABLE[k](), IMPORTANCES[i](), 0.2, num_items=10**6, rank_scaling=rank_scaling)
          for k in TRAINABLE for i in IMPORTANCES),
        SoftmaxLoss(0.2, 10**6, rank_scaling),
    ):  # fmt: skip
        double = value_and_gradients(loss, *scores(8, 500))
        single = value_and_gradients(loss, *scores(8, 500, dtype=torch.float32))
        assert_same(single, [part.float() for part in double], rtol=2e-4, atol=1e-6)

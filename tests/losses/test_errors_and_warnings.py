import math
import warnings

import numpy as np
import pytest
import torch

from lightning_croloss import PopularityNegatives, UniformNegatives
from lightning_croloss.losses import (
    KERNELS,
    BCELoss,
    BPRLoss,
    BSLLoss,
    CROLoss,
    ExponentialImportance,
    GammaImportance,
    GBCELoss,
    HingeKernel,
    PowerImportance,
    PSLTanhKernel,
    RecallSurrogateLoss,
    SLAtKLoss,
    SoftmaxLoss,
    TargetNImportance,
    TripletLoss,
)
from tests.losses.cases import LOSSES

NOT_POSITIVE = (0.0, -0.1, math.nan, math.inf)
PSL = [name for name in KERNELS if name.startswith("psl_")]


@pytest.mark.parametrize("value", NOT_POSITIVE)
@pytest.mark.parametrize(
    ("cls", "argument", "others"),
    [
        (CROLoss, "temperature", {}),
        (SoftmaxLoss, "temperature", {}),
        (BPRLoss, "temperature", {}),
        (TripletLoss, "temperature", {}),
        (TripletLoss, "margin", {}),
        (SLAtKLoss, "temperature", {}),
        (SLAtKLoss, "weight_temperature", {}),
        (BSLLoss, "temperature", {}),
        (BSLLoss, "positive_temperature", {}),
        (BSLLoss, "exponent", {}),
        (BCELoss, "temperature", {}),
        (GBCELoss, "temperature", {}),
        (RecallSurrogateLoss, "temperature", {}),
        (RecallSurrogateLoss, "rank_temperature", {}),
        (HingeKernel, "margin", {}),
        (PSLTanhKernel, "score_temperature", {}),
        (TargetNImportance, "n", {}),
        (TargetNImportance, "sharpness", {"n": 10}),
        (ExponentialImportance, "rate", {}),
        (GammaImportance, "rate", {}),
        (GammaImportance, "concentration", {}),
    ],
)
def test_what_must_be_positive(cls, argument, others, value):
    with pytest.raises(ValueError, match=rf"^{argument} must be .*{value}"):
        cls(**others, **{argument: value})


@pytest.mark.parametrize("value", NOT_POSITIVE)
@pytest.mark.parametrize("name", LOSSES)
def test_a_schedule_may_not_set_a_temperature_that_is_not_positive(name, value):
    with pytest.raises(ValueError, match="temperature"):
        LOSSES[name]().check_value("temperature", value)
    LOSSES[name]().check_value("temperature", 0.3)


@pytest.mark.parametrize("kernel", PSL)
def test_psl_needs_a_temperature_of_at_most_one(kernel):
    CROLoss(kernel, temperature=1.0)
    for build in (
        lambda: CROLoss(kernel, temperature=1.01),
        lambda: CROLoss(kernel).check_value("temperature", 1.01),
        lambda: CROLoss("softplus", temperature=1.01, lambda_weight=1.0, lambda_kernel=kernel),
    ):
        with pytest.raises(ValueError, match=f"kernel '{kernel}' needs a temperature of at most 1, got 1.01"):
            build()


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf])
def test_alpha(alpha):
    for build in (lambda: PowerImportance(alpha), lambda: CROLoss().check_value("alpha", alpha)):
        with pytest.raises(ValueError, match=r"^alpha must be"):
            build()
    CROLoss().check_value("alpha", 0.0)


def test_n_lies_in_the_catalogue():
    loss = CROLoss(importance=TargetNImportance(10), num_items=100)
    for value in (0.99, math.nan):
        with pytest.raises(ValueError, match="n must be a number of at least 1"):
            loss.check_value("n", value)
    with pytest.raises(ValueError, match="n must be at most the size of the catalogue, 100 items, got 101"):
        loss.check_value("n", 101)
    loss.check_value("n", 100)
    CROLoss(importance=TargetNImportance(10)).check_value("n", 101)  # the size is not known yet
    with pytest.raises(ValueError, match="sharpness"):
        loss.check_value("sharpness", 0.0)


@pytest.mark.parametrize("argument", ["kernel", "lambda_kernel"])
def test_an_unknown_kernel_names_the_nearest(argument):
    with pytest.raises(ValueError, match=f"unknown {argument} 'sofplus'; did you mean 'softplus'"):
        CROLoss(**{argument: "sofplus"})
    with pytest.raises(ValueError, match=r"known: .*hinge.*softplus"):
        CROLoss(**{argument: "zzzzz"})


def test_a_step_cannot_be_trained_through():
    with pytest.raises(ValueError, match="'heaviside' has no gradient"):
        CROLoss("heaviside")


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_lambda_weight_range(value):
    for build in (
        lambda: CROLoss("exp", lambda_weight=value),
        lambda: CROLoss("exp").check_value("lambda_weight", value),
    ):
        with pytest.raises(ValueError, match="lambda_weight must be between 0 and 1"):
            build()


@pytest.mark.parametrize(
    ("kernel", "lambda_kernel"),
    [(name, name) for name in KERNELS if KERNELS[name].differentiable] + [("hinge", HingeKernel(0.5))],
)
def test_lambda_with_equal_kernels_would_do_nothing(kernel, lambda_kernel):
    loss = CROLoss(kernel, lambda_kernel=lambda_kernel)
    loss.check_value("lambda_weight", 0.0)
    for build in (
        lambda: CROLoss(kernel, lambda_weight=0.1, lambda_kernel=lambda_kernel),
        lambda: loss.check_value("lambda_weight", 0.1),
    ):
        with pytest.raises(ValueError, match=f"does nothing when .*{kernel}"):
            build()


def test_lambda_with_the_same_kernel_of_another_width():
    CROLoss("hinge", lambda_kernel=HingeKernel(0.6), lambda_weight=0.5)


@pytest.mark.parametrize("cls", [CROLoss, SoftmaxLoss])
def test_rank_scaling_typo(cls):
    with pytest.raises(ValueError, match=r"rank_scaling must be .*'unbaised'"):
        cls(rank_scaling="unbaised")


@pytest.mark.parametrize("name", LOSSES)
def test_num_items_is_at_least_one(name):
    with pytest.raises(ValueError, match="num_items must be at least 1, got 0"):
        LOSSES[name](num_items=0)


@pytest.mark.parametrize("name", LOSSES)
def test_log_prob_needs_a_catalogue_size(name):
    scores = torch.zeros(2), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="num_items"):
        LOSSES[name]()(*scores, negative_log_prob=torch.zeros(3))
    LOSSES[name](num_items=3)(*scores, negative_log_prob=torch.zeros(3))


@pytest.mark.parametrize(
    ("positive", "negative", "options", "match"),
    [
        ((2, 1), (2, 3), {}, "positive_scores"),
        ((2,), (3,), {}, "negative_scores"),
        ((2,), (2, 3, 4), {}, "negative_scores"),
        ((2,), (3, 3), {}, "2 rows"),
        ((2,), (2, 3), {"negative_mask": torch.zeros(2, 4).bool()}, "negative_mask"),
        ((2,), (2, 3), {"negative_mask": torch.zeros(2).bool()}, "negative_mask"),
        ((2,), (2, 3), {"negative_mask": torch.zeros(1, 3).bool()}, "negative_mask"),
        ((2,), (2, 3), {"negative_log_prob": torch.zeros(4)}, "negative_log_prob"),
        ((2,), (2, 3), {"negative_log_prob": torch.zeros(3, 2)}, "negative_log_prob"),
        ((2,), (2, 3), {"num_sampled": torch.ones(3)}, "num_sampled"),
        ((2,), (2, 3), {"num_sampled": torch.ones(2, 1)}, "num_sampled"),
        ((2,), (2, 3), {"sample_weight": torch.ones(3)}, "sample_weight"),
        ((2,), (2, 3), {"sample_weight": torch.ones(2, 1)}, "sample_weight"),
    ],
)
def test_shapes_that_do_not_fit(positive, negative, options, match):
    with pytest.raises(ValueError, match=match):
        CROLoss(num_items=5)(torch.zeros(positive), torch.zeros(negative), **options)


def warnings_of(loss, negatives=4, scale=0.1, calls=12):
    scores = torch.zeros(2), scale * torch.ones(2, negatives)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(calls):
            loss(*scores)
    return [str(warning.message) for warning in caught]


def test_warns_once_of_more_draws_than_items():
    (message,) = warnings_of(CROLoss(num_items=3))
    assert "4 negatives are drawn out of 3 items" in message
    assert "FullCatalogNegatives" in message
    assert warnings_of(CROLoss(num_items=4)) == []


def test_warns_once_of_a_target_below_the_resolution():
    (message,) = warnings_of(CROLoss(importance=TargetNImportance(9), num_items=40))
    assert "n=9 is below N/M = 40/4 = 10" in message
    assert warnings_of(CROLoss(importance=TargetNImportance(10), num_items=40)) == []
    (message,) = warnings_of(CROLoss(importance=TargetNImportance(9)))
    assert "n=9 is a rank among the 4 candidates of a row" in message
    assert "give num_items" in message
    scheduled = CROLoss(importance=TargetNImportance(10), num_items=40)
    scheduled.schedulable()["n"].fill_(5)
    assert len(warnings_of(scheduled)) == 1


@pytest.mark.parametrize("kernel", [name for name in KERNELS if KERNELS[name].differentiable])
def test_warns_once_of_scores_that_a_bounded_kernel_cannot_resolve(kernel):
    width = getattr(KERNELS[kernel](), "score_temperature", 0.5)
    messages = warnings_of(CROLoss(kernel, temperature=0.5), scale=21 * width)
    assert len(messages) == KERNELS[kernel].bounded
    assert all(f"kernel '{kernel}' is flat" in message for message in messages)
    assert warnings_of(CROLoss(kernel, temperature=0.5), scale=width) == []


def test_looks_at_the_scores_again_later():
    loss = CROLoss()
    assert warnings_of(loss, calls=5) == []
    assert len(warnings_of(loss, scale=100.0, calls=10)) == 1


@pytest.mark.parametrize("name", LOSSES)
def test_normal_scores_raise_no_warning(name):
    assert warnings_of(LOSSES[name](num_items=10)) == []


@pytest.mark.parametrize("number", [-1, 0, 2.5, float("nan"), float("inf"), "5", True, torch.tensor(7)])
def test_the_size_of_a_catalogue_is_a_whole_number(number):
    with pytest.raises(ValueError, match=r"^num_items must be (a whole number|at least 1), got"):
        CROLoss(num_items=number)
    for taker in (CROLoss(), CROLoss(n=5), SoftmaxLoss(), UniformNegatives(3), PopularityNegatives(3)):
        with pytest.raises(ValueError, match=r"num_items must be (a whole number|at least 1), got"):
            taker.set_num_items(number)
        taker.set_num_items(np.int64(7))
        assert taker.num_items == 7


@pytest.mark.parametrize("name", LOSSES)
def test_temperatures_are_numbers_that_scores_can_be_divided_by(name):
    build = LOSSES[name]
    for value in (1e-50, 1e-38, 1e13, 1e300):
        with pytest.raises(ValueError, match=r"temperature must be from 1e-12 to 1e\+12, .* in float32"):
            build().check_value("temperature", value)
    with pytest.raises(ValueError, match=r"temperature must be one number, got a tensor \(2,\)"):
        build().check_value("temperature", torch.tensor([0.1, 0.2]))
    for value in ("0.1", True, None, [0.1]):
        with pytest.raises(TypeError, match="temperature must be a positive number, got"):
            build().check_value("temperature", value)


@pytest.mark.parametrize("temperature", [1e-12, 1e12])
@pytest.mark.parametrize("name", LOSSES)
def test_the_extreme_temperatures_can_be_computed(name, temperature):
    loss = LOSSES[name](num_items=300, reduction="none")
    loss.temperature.fill_(temperature)
    generator = torch.Generator().manual_seed(0)
    positive, negative = (30.0 * torch.randn(shape, generator=generator) for shape in ((4,), (4, 200)))
    positive.requires_grad_()
    negative.requires_grad_()
    for mask in (None, torch.rand(4, 200, generator=generator) < 0.5):
        value = loss(positive, negative, negative_mask=mask)
        assert value.isfinite().all()
        for gradient in torch.autograd.grad(value.sum(), (positive, negative)):
            assert gradient.isfinite().all()

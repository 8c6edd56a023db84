"""The rule behind ``CROLoss(n=…)``, a plain function."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss import PowerImportance
from lightning_croloss.losses import KERNELS, CROLoss
from lightning_croloss.losses.rule import (
    ALPHA_RANGE,
    LINES,
    N_RANGE,
    TEMPERATURE_RANGE,
    TYPICAL_N,
    TYPICAL_RATIO,
    TYPICAL_RECALL,
    Line,
    choose,
)

SIZES = st.integers(1, 10**9)
FRACTIONS = st.none() | st.floats(0, 1)
NAMES = st.none() | st.sampled_from([*sorted(set(KERNELS) - {"heaviside"}), "somebody's own"])


@given(st.data(), SIZES, FRACTIONS, NAMES)
def test_whatever_is_asked_the_answer_can_be_trained_with(data, num_items, expected_recall, kernel):
    n = data.draw(st.floats(1, num_items))
    choice = choose(n, data.draw(st.sampled_from([None, num_items])), expected_recall, kernel=kernel)
    assert choice.kernel == kernel or (kernel is None and KERNELS[choice.kernel].differentiable)
    assert TEMPERATURE_RANGE[0] <= choice.temperature <= TEMPERATURE_RANGE[1]
    assert ALPHA_RANGE[0] <= choice.alpha <= ALPHA_RANGE[1]
    if choice.kernel in KERNELS:
        loss = CROLoss(choice.kernel, choice.importance, choice.temperature)
        assert float(loss.importance.alpha) == choice.alpha


def test_the_importance_is_a_new_power_importance():
    choice = choose(100)
    assert type(choice.importance) is PowerImportance
    assert choice.importance is not choice.importance


@pytest.mark.parametrize("kernel", LINES)
def test_each_part_of_the_question_changes_the_answer(kernel):
    first = choose(100, 20_000, 0.5, kernel=kernel)
    for other in (
        choose(200, 20_000, 0.5, kernel=kernel),
        choose(100, 40_000, 0.5, kernel=kernel),
        choose(100, 20_000, 0.6, kernel=kernel),
    ):
        assert other.temperature != first.temperature


def test_a_larger_n_and_a_higher_recall_want_a_larger_temperature():
    rising = [choose(n, 50_000).temperature for n in (20, 50, 100, 200, 500)]
    assert rising == sorted(set(rising))
    rising = [choose(100, 50_000, recall).temperature for recall in (0.1, 0.3, 0.5, 0.9)]
    assert rising == sorted(set(rising))
    falling = [choose(100, size).temperature for size in (5_000, 20_000, 100_000)]
    assert falling == sorted(set(falling), reverse=True)


@given(st.floats(1, 5000), st.integers(5000, 10**7), st.sampled_from(sorted(LINES)))
def test_it_is_smooth(n, num_items, kernel):
    near = choose(min(1.01 * n, 5000), num_items, kernel=kernel)
    here = choose(n, num_items, kernel=kernel)
    assert abs(near.temperature - here.temperature) <= 0.01 * here.temperature + 2e-4
    assert abs(near.alpha - here.alpha) <= 0.01 * here.alpha + 2e-4


def test_what_is_not_said_counts_as_typical():
    assert choose(100) == choose(100, int(100 * TYPICAL_RATIO), TYPICAL_RECALL)
    assert choose(30) == choose(30, int(30 * TYPICAL_RATIO))


def test_beyond_what_was_measured_it_stays_as_it_is():
    least, most = N_RANGE
    assert choose(1, 200).temperature == choose(least, 200).temperature
    assert choose(10 * most).temperature == choose(most).temperature


@pytest.mark.parametrize("kernel", LINES)
@pytest.mark.parametrize("num_items", [None, 20_000, 10**6])
@pytest.mark.parametrize("expected_recall", [None, 0.2])
def test_beyond_the_measured_n_nothing_changes_in_a_catalogue(kernel, num_items, expected_recall):
    for end, beyond in zip(N_RANGE, ((1, 2, 9.9), (2001, 5000, 10_000)), strict=True):
        answers = {choose(n, num_items, expected_recall, kernel=kernel) for n in (end, *beyond)}
        assert len(answers) == 1


def test_a_kernel_that_was_not_measured_gets_what_softplus_would():
    hinge, softplus = choose(50, kernel="hinge"), choose(50, kernel="softplus")
    assert (hinge.alpha, hinge.temperature) == (softplus.alpha, softplus.temperature)


def test_a_line_is_what_it_says():
    line = Line(0.1, by_n=0.5, by_ratio=-0.25, by_recall=2.0)
    assert line.value(TYPICAL_N, TYPICAL_RATIO, TYPICAL_RECALL) == pytest.approx(0.1)
    assert line.value(4 * TYPICAL_N, TYPICAL_RATIO, TYPICAL_RECALL) == pytest.approx(0.2)
    assert line.value(TYPICAL_N, 16 * TYPICAL_RATIO, TYPICAL_RECALL) == pytest.approx(0.05)
    assert line.value(TYPICAL_N, TYPICAL_RATIO, TYPICAL_RECALL + 0.1) == pytest.approx(0.1 * math.exp(0.2))


@pytest.mark.parametrize("number", [np.int64(50), np.float32(50), 50.0])
def test_any_number_will_do(number):
    assert choose(number, np.int64(1000)) == choose(50, 1000)


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ((0,), ValueError, "n must be a number of at least 1, got 0"),
        ((-3,), ValueError, "n must be a number of at least 1, got -3"),
        ((math.nan,), ValueError, "n must be a number of at least 1, got nan"),
        ((math.inf,), ValueError, "n must be a number of at least 1, got inf"),
        ((10**400,), ValueError, "n must be a number of at least 1, got 1000"),
        ((True,), TypeError, "n must be a number of at least 1, got True"),
        ((torch.tensor(100),), TypeError, r"n must be a number of at least 1, got tensor\(100\)"),
        ((np.array(100),), TypeError, r"n must be a number of at least 1, got array\(100\)"),
        (("100",), TypeError, "n must be a number of at least 1, got '100'"),
        (([20, 100],), TypeError, r"n must be a number of at least 1, got \[20, 100\]"),
        ((21, 20), ValueError, "n must be at most the size of the catalogue, 20 items, got 21"),
        (
            (10, 20, 35),
            ValueError,
            "expected_recall is the Recall@n that you expect, .* got 35",
        ),
        ((10, 20, -0.1), ValueError, "expected_recall is .* between 0 and 1, got -0.1"),
        ((10, 20, math.nan), ValueError, "expected_recall is .* between 0 and 1, got nan"),
        ((10, 20, "0.3"), TypeError, "expected_recall must be a number between 0 and 1, got '0.3'"),
        ((10, 20, torch.tensor(0.5)), TypeError, r"expected_recall must be a number .* got tensor\(0.5"),
        ((10, 20, True), TypeError, "expected_recall must be a number between 0 and 1, got True"),
    ],
)
def test_mistakes_get_one_sentence(arguments, kind, sentence):
    with pytest.raises(kind, match=sentence) as caught:
        choose(*arguments)
    assert "\n" not in str(caught.value)

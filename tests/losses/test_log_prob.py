import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss import log_prob_from_counts


def naive(counts, exponent):
    """Return log q by the formula, item by item; counts below 2^53 and moderate exponents only."""
    weights = [float(count) ** exponent if count > 0 else 0.0 for count in counts]
    return [math.log(weight / sum(weights)) if weight else -math.inf for weight in weights]


counts_of_items = st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(any)


@given(counts_of_items, st.floats(0, 3))
def test_it_is_the_formula(counts, exponent):
    found = log_prob_from_counts(counts, exponent)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(naive(counts, exponent)), rtol=1e-6, atol=1e-6)


@given(counts_of_items, st.floats(0, 3))
def test_probabilities_add_up_to_one_over_the_items_that_occur(counts, exponent):
    found = log_prob_from_counts(counts, exponent)
    assert found.double().exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    assert torch.isinf(found).tolist() == [count == 0 for count in counts]


@given(counts_of_items, st.floats(0, 3), st.floats(1e-9, 1e9))
def test_only_the_ratios_matter(counts, exponent, factor):
    scaled = [count * factor for count in counts]
    torch.testing.assert_close(log_prob_from_counts(scaled, exponent), log_prob_from_counts(counts, exponent))
    again = log_prob_from_counts(counts, exponent).exp()  # probabilities may be given too
    torch.testing.assert_close(log_prob_from_counts(again), log_prob_from_counts(counts, exponent))


@given(counts_of_items, st.randoms(use_true_random=False))
def test_a_count_belongs_to_its_id(counts, random):
    order = list(range(len(counts)))
    random.shuffle(order)
    found = log_prob_from_counts([counts[index] for index in order])
    torch.testing.assert_close(found, log_prob_from_counts(counts)[order])


def test_exponent_0_is_uniform_over_the_items_that_occur():
    found = log_prob_from_counts([0, 7, 1, 0, 1_000], exponent=0)
    assert found.tolist() == pytest.approx([-math.inf, -math.log(3), -math.log(3), -math.inf, -math.log(3)])


def test_the_exponent_flattens():
    flat, steep = (log_prob_from_counts([1, 100], exponent).diff() for exponent in (0.5, 2))
    assert flat.item() == pytest.approx(0.5 * math.log(100))
    assert steep.item() == pytest.approx(2 * math.log(100))


def test_large_counts_and_exponents_stay_finite():
    found = log_prob_from_counts(torch.tensor([2**62, 2**61, 1]), exponent=20)
    assert found.tolist() == pytest.approx([0.0, -20 * math.log(2), -20 * 62 * math.log(2)], abs=1e-5)
    # float32 sums would lose the rare ones
    many = log_prob_from_counts(np.ones(3_000_000, dtype=np.int32))
    assert many[0].item() == pytest.approx(-math.log(3_000_000), rel=1e-7)


@pytest.mark.parametrize(
    "counts",
    [
        torch.tensor([0, 3, 1]),
        torch.tensor([0, 3, 1], dtype=torch.uint8),
        torch.tensor([0.0, 3.0, 1.0], dtype=torch.bfloat16, requires_grad=True),
        np.array([0, 3, 1], dtype=np.uint64),
        np.array([0, 3, 1], dtype=object),
        [0, 3, 1],
        (0.0, np.float32(3), 1),
        [Fraction(0), 3, 1],
        [torch.tensor(0), torch.tensor(3), torch.tensor(1)],
        range(0, 4, 3),
    ],
    ids=lambda counts: type(counts).__name__,
)
def test_counts_may_be_anything_with_numbers(counts):
    expected = naive([0, 3, 1][: len(counts)], 1.0)
    found = log_prob_from_counts(counts)
    assert not found.requires_grad
    assert found.tolist() == pytest.approx(expected)


def test_a_series_is_taken_by_its_index():
    pandas = pytest.importorskip("pandas")
    items = pandas.Series([2, 2, 2, 1])
    with pytest.raises(ValueError, match=r"index of this Series is not 0 … C − 1 in order: call .*reindex"):
        log_prob_from_counts(items.value_counts())  # sorted by frequency: the first count is that of item 2
    by_id = items.value_counts().reindex(range(3), fill_value=0)
    assert log_prob_from_counts(by_id).tolist() == pytest.approx([-math.inf, math.log(0.25), math.log(0.75)])
    assert torch.equal(log_prob_from_counts(by_id.astype("Int64")), log_prob_from_counts(by_id))


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ([1, -2], ValueError, "got -2 for id 1: give counts or probabilities, not their logarithms"),
        (torch.tensor([-0.1, -2.3]), ValueError, "got -0.1 for id 0: .*not their logarithms"),
        ([1.0, math.nan], ValueError, "finite numbers of at least 0, got nan for id 1"),
        ([math.inf, 1.0], ValueError, "finite numbers of at least 0, got inf for id 0"),
        (torch.tensor([70_000.0]).half(), ValueError, "got inf for id 0"),
        ([0, 0], ValueError, "counts are all 0: at least one item must occur"),
        ([], ValueError, "counts is empty"),
        (torch.ones(2, 3), ValueError, r"one-dimensional, \(C,\), one count for each id, got \(2, 3\)"),
        (torch.tensor(3), ValueError, r"one-dimensional, .* got \(\)"),
        (5, ValueError, r"one-dimensional, .* got \(\)"),
        (torch.tensor([True, False]), TypeError, "tensor of numbers, got one of torch.bool"),
        (torch.tensor([1j]), TypeError, "tensor of numbers, got one of torch.complex64"),
        (torch.tensor([0, 1]).to_sparse(), TypeError, "dense tensor of numbers, got one of torch.sparse_coo"),
        ([True, False], TypeError, r"list of numbers, one for each id from 0, got list \[True, False\]"),
        (Counter([1, 1, 2]), TypeError, r"one for each id from 0, got Counter Counter\(\{1: 2, 2: 1\}\)"),
        (["3", "4"], TypeError, r"list of numbers.*got list \['3', '4'\]"),
        ("34", TypeError, "list of numbers.*got str '34'"),
        ([1, None], TypeError, r"list of numbers.*got list \[1, None\]"),
        ([[1, 2], [3]], TypeError, "list of numbers.*got list"),
        ([1, 10**400], TypeError, "list of numbers.*got list"),
        (None, TypeError, "list of numbers.*got NoneType None"),
    ],
)
def test_what_is_not_counts_is_refused(counts, error, message):
    with pytest.raises(error, match=message):
        log_prob_from_counts(counts)


@pytest.mark.parametrize(
    ("exponent", "error", "message"),
    [
        (-1, ValueError, "exponent must be a finite number of at least 0, got -1"),
        (math.nan, ValueError, "exponent must be a finite number of at least 0, got nan"),
        (math.inf, ValueError, "exponent must be a finite number of at least 0, got inf"),
        ("0.75", TypeError, "exponent must be a number of at least 0, got '0.75'"),
        (True, TypeError, "exponent must be a number of at least 0, got True"),
        (None, TypeError, "exponent must be a number of at least 0, got None"),
    ],
)
def test_the_exponent_is_checked(exponent, error, message):
    with pytest.raises(error, match=message):
        log_prob_from_counts([1, 2], exponent)

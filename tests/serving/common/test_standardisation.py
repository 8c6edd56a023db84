"""Standardisation: what is usual stays as it is, a sentinel does not erase it."""

import numpy as np
import pytest

from croloss_serving.common.standardisation import Standardisation

RNG = np.random.default_rng(0)
USUAL = {
    "ages": RNG.integers(18, 80, 500).astype(float),
    "prices": RNG.lognormal(3.0, 1.0, 500),
    "very skewed": RNG.pareto(1.0, 2_000),
    "counts, mostly 0": RNG.poisson(0.05, 500).astype(float),
    "years": 2000 - RNG.exponential(8.0, 500).round(),
    "scores": RNG.uniform(0.0, 1.0, 500),
    "a flag": (RNG.random(500) < 0.01).astype(float),
    "tiny": RNG.normal(0.0, 1e-200, 500),
    "two": np.array([1.0, 3.0]),
    "three": np.array([1.0, 2.0, 10.0]),
}
SENTINELS = [np.finfo(np.float64).min, np.finfo(np.float64).max, 1e30, -1e30, 3.4028235e38, -99_999.0]


@pytest.mark.parametrize("name", USUAL)
def test_usual_numbers_are_standardised_as_ever(name):
    numbers = np.append(USUAL[name], np.nan)
    found = Standardisation.of(numbers)
    assert found.num_absurd == 0
    values = found.apply(numbers)
    assert np.isnan(values[-1])
    wide = USUAL[name].astype(np.longdouble)
    expected = (wide - wide.mean()) / wide.std()
    np.testing.assert_allclose(values[:-1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.002, 0.05, 0.4])
@pytest.mark.parametrize("sentinel", [*SENTINELS, -999.0])
@pytest.mark.parametrize("name", ["ages", "scores"])
def test_a_sentinel_changes_nothing_of_the_others(name, sentinel, share):
    numbers = USUAL[name].copy()
    replaced = np.arange(len(numbers)) < share * len(numbers)
    numbers[replaced] = sentinel
    kept = numbers[~replaced]
    found = Standardisation.of(numbers)
    assert found.num_absurd == replaced.sum()
    values = found.apply(numbers)
    np.testing.assert_allclose(values[~replaced], (kept - kept.mean()) / kept.std(), rtol=1e-5, atol=1e-6)
    assert set(values[replaced]) == {values[~replaced].min() if sentinel < 0 else values[~replaced].max()}


def test_several_sentinels_and_numbers_as_large_as_can_be():
    numbers = np.concatenate([USUAL["ages"], [-999.0, 1e30, np.finfo(np.float64).max]])
    assert Standardisation.of(numbers).num_absurd == 3
    extreme = np.finfo(np.float64)
    for numbers in (
        np.array([extreme.min, extreme.max]),
        np.array([0.0, extreme.min, extreme.max, 0.0]),
        np.array([5.0, 5.0, 5.0, extreme.min]),
    ):
        assert np.isfinite(Standardisation.of(numbers).apply(numbers)).all()

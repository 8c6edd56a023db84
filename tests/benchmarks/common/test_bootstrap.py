"""The paired bootstrap."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from benchmarks.common.bootstrap import paired_bootstrap


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = []
    for trial in range(200):
        theirs = random.random(300)
        ours = theirs + random.normal(0.1, 0.5, 300)
        mean, low, high = paired_bootstrap(ours, theirs, samples=400, seed=trial)
        assert low < mean < high
        covered.append(low <= 0.1 <= high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_pairing_cancels_what_users_have_in_common() -> None:
    users = np.random.default_rng(0).normal(0.0, 10.0, 300)
    mean, low, high = paired_bootstrap(users + 0.1, users)
    assert (mean, low, high) == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize(("users", "samples"), [(7, 50), (300, 41)])
def test_the_chunks_do_not_change_the_result(users: int, samples: int) -> None:
    random = np.random.default_rng(1)
    ours, theirs = random.random(users), random.random(users)
    difference = ours - theirs
    picks = np.random.default_rng(3).integers(0, users, (samples, users))  # all at once
    low, high = np.quantile(difference[picks].mean(1), [0.025, 0.975])
    for chunk in (1, users, 2 * users + 1, 1000, users * samples, 2**30):
        found = paired_bootstrap(ours, theirs, samples, seed=3, chunk=chunk)
        assert found == (difference.mean(), low, high)


def test_memory_is_that_of_a_chunk() -> None:
    ours = np.random.default_rng(0).random(20_000)
    tracemalloc.start()
    try:
        paired_bootstrap(ours, np.zeros_like(ours), samples=200, chunk=2**16)
        small = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        paired_bootstrap(ours, np.zeros_like(ours), samples=200, chunk=2**22)
        large = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert small < 16 * 2**16 + 2**20
    assert large > 10 * small  # or the measurement sees nothing

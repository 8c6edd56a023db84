"""The paired bootstrap."""

from __future__ import annotations

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

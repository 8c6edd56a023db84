"""PerUserRatio against a naive loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data import PerUserRatio
from tests.data.splits.cases import as_lists, check, logs, make, naive_rows


@given(logs, st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.2, 0.3), (0.42, 0.29, 0.29)]))
def test_per_user_ratio_equals_a_loop(log, fractions):
    data = make(log)
    rows = PerUserRatio(*fractions).assign(data)
    part_of = []
    for user in range(1, data.num_users + 1):
        length = int((data.users == user).sum())
        counts = {part: math.floor(round(100 * fractions[part]) * length / 100) for part in (1, 2)}
        for part in (2, 1):
            if counts[part] == 0 and length - sum(counts.values()) > 1:
                counts[part] = 1
        part_of += [0] * (length - sum(counts.values())) + [1] * counts[1] + [2] * counts[2]
    assert as_lists(rows) == naive_rows(data, part_of)
    assert not rows.unseen_users
    check(data, rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 0.5}, "must sum to 1"),
        ({"train": 1.0}, "train=1.0 must be a fraction"),
    ],
)
def test_unusable_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PerUserRatio(**arguments)


def test_each_argument_counts():
    rng = np.random.default_rng(0)
    data = make(list(zip(rng.integers(0, 9, 200), rng.integers(0, 99, 200), strict=True)))
    arguments = [{}, {"train": 0.7, "valid": 0.2}, {"train": 0.7, "test": 0.2}]
    outcomes = [str(as_lists(PerUserRatio(**given).assign(data))) for given in arguments]
    assert len(set(outcomes)) == len(outcomes)

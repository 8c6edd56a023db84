"""Numbers in parts on the disk have the order that they have in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_croloss.data.partitions.order_statistics import OrderStatistics

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.5, -1.5])


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([(INTEGERS, np.int64), (FLOATS, np.float64)]).flatmap(
        lambda kind: st.tuples(
            st.lists(st.lists(kind[0], max_size=6), min_size=1, max_size=4).filter(any),
            st.just(kind[1]),
            kind[0] | st.floats(-5, 5),
        )
    )
)
def test_places_and_counts(drawn: tuple[list[list[float]], type, float]) -> None:
    parts, kind, limit = drawn
    ordered = np.sort(np.concatenate([np.array(part, dtype=kind) for part in parts]))
    with tempfile.TemporaryDirectory() as folder:
        found = OrderStatistics(Path(folder), "x")
        for part in parts:
            found.add(np.array(part, dtype=kind))
        assert len(found) == len(ordered)
        assert [found.at(place) for place in range(len(ordered))] == ordered.tolist()
        assert found.before(limit) == sum(number < limit for number in ordered.tolist())


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_median_is_that_of_numpy(tmp_path: Path, count: int) -> None:
    numbers = np.random.default_rng(count).normal(size=count) * 1e9
    found = OrderStatistics(tmp_path, "x")
    for part in np.array_split(numbers, 3):
        found.add(part)
    assert found.median() == float(np.median(numbers))

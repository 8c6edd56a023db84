"""Filters of histories as plain types, and intervals."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data.history_filters import (
    DUPLICATES,
    FROM,
    PRESENT,
    RANGE,
    REPEATS,
    TEXTS,
    UNTIL,
    HistoryFilter,
    plain_filters,
    range_of,
    read_filters,
    window_of,
    within,
)

FILTERS = [
    HistoryFilter(RANGE, "rating", "[4,inf)", refuses_missing=True),
    HistoryFilter(RANGE, "rating", "(0.5,1]; [3,4)"),
    HistoryFilter(TEXTS, "kind", ["view", "buy", "cart", "ü"]),
    HistoryFilter(DUPLICATES, keep="last"),
    HistoryFilter(REPEATS),
    HistoryFilter(FROM, "when", 0),
    HistoryFilter(UNTIL, "when", "2024-05-31"),
    HistoryFilter(PRESENT, "weight"),
]


def test_they_come_back_from_json():
    assert read_filters(json.loads(json.dumps(plain_filters(FILTERS)))) == FILTERS


def test_each_says_what_it_leaves_out():
    said = [each.leaves_out for each in FILTERS]
    assert said[0] == "events whose 'rating' is not in [4,inf)"
    assert said[2] == "events whose 'kind' is none of 'view', 'buy', 'cart' and 1 more"
    assert said[5:7] == ["events whose 'when' is before 0", "events whose 'when' is from 2024-05-31 on"]
    assert len({*said}) == len(said)


NUMBERS = st.floats(allow_nan=False, width=64) | st.integers(-(2**53), 2**53)


@given(st.none() | NUMBERS, st.none() | NUMBERS, st.lists(st.floats()))
def test_a_range_is_that_of_its_ends(low, high, values):
    if None not in (low, high) and low > high:
        low, high = high, low
    expected = [
        (low is None or value >= low) and (high is None or value <= high) and np.isfinite(value)
        for value in values
    ]
    column = np.array(values, dtype=np.float64)
    assert (within(column, range_of(low, high)) & np.isfinite(column)).tolist() == expected


def test_intervals_with_and_without_their_ends():
    values = np.array([0.5, 1, 2, 3, 4, np.nan])
    assert within(values, "(0.5,1]; [3,4)").tolist() == [False, True, False, True, False, False]


@pytest.mark.parametrize("text", ["", "4", "[4]", "[5,4]", "[a,b]", "[nan,1]", "[1,2];", "[1,2],[3,4]"])
def test_what_is_no_interval(text):
    with pytest.raises(ValueError, match=r"is not an interval such as"):
        within(np.zeros(1), text)


@pytest.mark.parametrize(
    ("intervals", "range_", "end"),
    [
        ("[5,inf)", "[5.0,inf)", None),
        ("(-inf,7]", None, 7.0),
        ("(5,7)", "(5.0,inf)", 7.0),
        ("[9,11];[1,2)", "[1.0,2.0);[9.0,inf)", 11.0),
    ],
)
def test_the_end_of_a_window_is_a_filter_of_its_own(intervals, range_, end):
    expected = [] if range_ is None else [HistoryFilter(RANGE, "when", range_)]
    expected += [] if end is None else [HistoryFilter(UNTIL, "when", end)]
    assert window_of("when", intervals) == expected

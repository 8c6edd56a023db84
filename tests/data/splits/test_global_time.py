"""GlobalTime against a naive loop, with numbers and with dates."""

import math
from datetime import date, datetime, timedelta

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.configurable import to_config
from lightning_croloss.data import GlobalTime, Interactions, TableDataModule
from lightning_croloss.errors import DataError
from tests.data.splits.cases import as_lists, check, logs, make, naive_rows


@given(
    logs,
    st.one_of(st.sampled_from([0.1, 0.3, 0.6]), st.integers(1, 8), st.floats(1, 8)),
    st.one_of(st.sampled_from([0.1, 0.3]), st.integers(2, 9)),
    st.sampled_from([np.int64, np.float64]),
)
def test_global_time_equals_a_loop(log, valid, test, dtype):
    log = [(user, dtype(time)) for user, time in log]
    data = make(log)
    times = sorted(time for _, time in log)

    def begin(value, stop):
        if value < 1:
            return times[max(stop - max(round(value * len(times)), 1), 0)]
        return math.ceil(value) if dtype is np.int64 else value

    begin_test = begin(test, len(times))
    begin_valid = begin(valid, sum(time < begin_test for time in times))
    if not times[0] < begin_valid < begin_test <= times[-1]:
        with pytest.raises(DataError, match="GlobalTime: "):
            GlobalTime(valid, test).assign(data)
        return
    part_of = [int(time >= begin_valid) + int(time >= begin_test) for time in data.times.tolist()]
    rows = GlobalTime(valid, test).assign(data)
    assert as_lists(rows) == naive_rows(data, part_of)
    check(data, rows)
    training = data.times[rows.training_events]
    evaluated = torch.cat([rows.valid.first, rows.test.first])
    if len(training) and len(evaluated):
        assert training.max() < data.times[evaluated].min()


DATES = np.datetime64("2024-01-01") + np.repeat(np.arange(10), 2).astype("timedelta64[D]")


def dated():
    return Interactions.from_columns(np.tile([0, 1], 10), np.arange(20), DATES)


def test_global_time_with_dates():
    plain = as_lists(GlobalTime("2024-01-07", "2024-01-09").split(dated()))
    assert plain[1:3] == [[(6, 8), (16, 18)], [(8, 10), (18, 20)]]
    assert plain == as_lists(GlobalTime("2024-01-07T00:00:00Z", "2024-01-09 02:00+02:00").split(dated()))
    assert plain == as_lists(GlobalTime("2024-01-06T12:30", 0.2).split(dated()))
    later = as_lists(GlobalTime("2024-01-07T00:00:01", "2024-01-09").split(dated()))
    assert later[1] == [(7, 8), (17, 18)]
    assert as_lists(GlobalTime("2024-01-07", "2024-01-10").split(dated()))[2] == [(9, 10), (19, 20)]


def test_large_whole_times_are_compared_exactly():
    start = 1_700_000_000_000_000_001
    data = make([(0, start + step) for step in range(6)])
    rows = GlobalTime(start + 3, start + 5).split(data)
    assert as_lists(rows)[1:3] == [[(3, 5)], [(5, 6)]]
    small = make([(0, time) for time in range(16_777_215, 16_777_221)])  # beyond what float32 tells apart
    assert as_lists(GlobalTime(16_777_217.5, 16_777_219.5).split(small))[1:3] == [[(3, 5)], [(5, 6)]]


def test_users_of_evaluation_may_be_unseen():
    log = [(0, 0), (0, 1), (0, 5), (0, 8), (1, 5), (1, 8)]
    assert GlobalTime(5, 8).split(make(log)).unseen_users
    assert not GlobalTime(5, 8).split(make(log[:4])).unseen_users
    # a new user of whom nothing can be asked is none
    assert not GlobalTime(5, 8).split(make([*log[:4], (1, 8), (1, 9)])).unseen_users


@pytest.mark.parametrize(
    ("arguments", "columns", "message"),
    [
        ({}, {"times": None}, "GlobalTime needs times"),
        ({"valid": 5, "test": 5}, {}, "valid=5 begins at 5, not before test=5 at 5"),
        (
            {"valid": 5, "test": 9.5},
            {},
            "test=9.5 must lie after the first event, at 0, and not after the last",
        ),
        ({"valid": 0, "test": 5}, {}, "valid=0 must lie after the first event, at 0"),
        ({"valid": 5, "test": "2024-01-03"}, {}, r"numbers, 0 … 9: .*since 1970 the date is 1704240000"),
        ({"test": 5}, {"times": DATES[::2]}, "test=5 is a number, but the times are dates"),
        (
            {"valid": "2024-01-05", "test": "2024-02-01"},
            {"times": DATES[::2]},
            "first event, at 2024-01-01T00:00:00, and not after the last, at 2024-01-10T00:00:00",
        ),
        # beyond what 64 bits hold
        ({"valid": "2024-01-05", "test": "9999-12-31"}, {"times": DATES[::2]}, "test='9999-12-31' must lie"),
        ({"valid": "0001-01-01", "test": "2024-01-05"}, {"times": DATES[::2]}, "valid='0001-01-01' must lie"),
        ({"valid": 5, "test": 1e30}, {}, r"test=1e\+30 must lie after the first event, at 0"),
        ({"valid": 5, "test": 10**30}, {}, "test=1000000000000000000000000000000 must lie after"),
        ({"valid": 5, "test": 10**400}, {}, "test=10000.* must lie after the first event, at 0"),
        ({"valid": -(10**30), "test": 5}, {}, "valid=-1000000000000000000000000000000 must lie after"),
        (
            {"valid": 5, "test": 10**30},
            {"times": np.arange(10) / 2},
            "must lie after the first event, at 0.0",
        ),
    ],
)
def test_times_that_do_not_fit(arguments, columns, message):
    columns = {"users": [0] * 10, "items": np.arange(10), "times": np.arange(10), **columns}
    with pytest.raises(DataError, match=message):
        GlobalTime(**arguments).split(Interactions.from_columns(**columns))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"valid": 0.5, "test": 0.5}, "leave nothing for training"),
        ({"valid": "yesterday"}, "valid='yesterday' must be a fraction, a number, or an ISO date"),
        ({"test": float("nan")}, "test=nan must be"),
    ],
)
def test_unusable_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlobalTime(**arguments)


def test_a_date_that_is_no_text():
    with pytest.raises(TypeError, match="valid must be a number, or a date as text, got 2020-06-01: put"):
        GlobalTime(valid=date(2020, 6, 1))
    with pytest.raises(TypeError, match="time_from must be a number, or a date as text, got 2020-06-01"):
        TableDataModule("x.csv", time_from=date(2020, 6, 1))


def test_each_argument_counts():
    rng = np.random.default_rng(0)
    data = make(list(zip(rng.integers(0, 9, 200), rng.integers(0, 99, 200), strict=True)))
    arguments = [{}, {"valid": 0.2}, {"test": 0.2}, {"valid": 50}, {"test": 95}]
    outcomes = [str(as_lists(GlobalTime(**given).assign(data))) for given in arguments]
    assert len(set(outcomes)) == len(outcomes)
    assert to_config(GlobalTime("2024-01-01", 0.3))["init_args"] == {"valid": "2024-01-01", "test": 0.3}


def test_iso_dates_are_read_as_python_does():
    data = dated()
    when = datetime(2024, 1, 7) + timedelta(hours=1)
    assert as_lists(GlobalTime(when.isoformat(), 0.1).split(data))[1] == [(7, 9), (17, 19)]

"""Columns of one's own: exact, or refused with the column and the row."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data import Interactions, Vocabulary
from lightning_croloss.errors import DataError

USERS = [1, 1, 2, 2]
NA = pd.NA


def dates(*texts, unit="us"):
    return np.array(texts, dtype=f"datetime64[{unit}]")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            np.array([5, 2**63 + 5, 3, 4], dtype=np.uint64),
            "times has 9223372036854775813 in row 1, which is too",
        ),
        ([5, 2, 2**63, 4], "times has 9223372036854775808 in row 2, which is too large"),
        ([-5, 2, 2**63 + 1, 4], "times has 9223372036854775809 in row 2, which is too large"),
        ([5, 2, 2**70 + 1, 4], "times has 1180591620717411303425 in row 2"),
        ([5.5, 2, 2**53 + 1, 4], "cannot order events exactly"),
        ([5.5, 2, 10**400, 4], "times has 1000.* in row 2, which is too large for a time"),
        ([5, 2, 10**5000, 4], "times has an integer of very many digits in row 2, which is too large"),
        (pl.Series([5, 2, 2**70 + 1, 4], dtype=pl.Int128), "times has 1180591620717411303425 in row 2"),
        (
            dates("2020-01-01", "3000-01-01", "2020-01-01", "2020-01-01"),
            "3000-01-01.* in row 1, which is before",
        ),
        (dates("2020-01-01", "1600-01-01", "2020", "2020", unit="D"), "times has 1600-01-01 in row 1"),
        (dates("2020", "2020", "9999", "2020", unit="Y"), "times has 9999.* in row 2, which is before 1678"),
        (dates("2020", "2020", "NaT", "2020", unit="s"), "times has no value in row 2"),
        (dates("2000", "2000", "2000", "2000", unit="ps"), "finer than nanoseconds"),
        ([1.0, 2.0, np.inf, 3.0], "times has inf in row 2, which is not a finite number"),
        (np.array([1.0, -np.inf, 2.0, 3.0]), "times has -inf in row 1"),
        ([1.0, 2.0, None, 3.0], "times has no value in row 2"),
        (pd.Series([1, 2, NA, 3], dtype="Int64"), "times has no value in row 2"),
        (pl.Series([1, 2, None, 3]), "times has no value in row 2"),
        (np.ma.array([1, 2, 3, 4], mask=[False, True, False, False]), "times has no value in row 1"),
        ([True, False, True, True], "cannot order events exactly"),
        (["1", "2", "3", "4"], "times are str objects, which cannot order events"),
        (torch.tensor([1.0, 2, 3, 4], dtype=torch.bfloat16), "times are float16, which cannot order events"),
    ],
)
def test_times_that_cannot_order_events(times, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_columns(USERS, ["a", "b", "c", "d"], times)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a", "a\0", "b", "c"], r"items holds 'a\\x00' in row 1, which is not clean text"),
        (["a", "\ud800", "b", "c"], "items holds .* in row 1, which is not clean text"),
        (["a", "b", "", "c"], "items has no token in row 2"),
        (np.array(["a", "b", "", "c"]), "items has no token in row 2"),
        (["a", "b", None, ""], "items has no token in row 2"),
        (pd.Series(["a", NA, "b", "c"], dtype="string"), "items has no token in row 1"),
        (pd.Series([1, 2, NA, 3], dtype="Int64"), "items has no token in row 2"),
        (pd.Series(["a", "b", pd.NaT, "c"], dtype=object), "items has no token in row 2"),
        (pl.Series(["a", None, "b", "c"]), "items has no token in row 1"),
        ([1.0, 2.5, 3.0, 4.0], "items has 2.5 in row 1: users and items must be integers or text"),
        ([1.0, 2.0, np.inf, 4.0], "items has inf in row 2: users"),
        (np.array([1.0, 2.0, 2**60, 4.0]), "items has .* in row 2: users"),
        (np.array([1.0, 2.0, 2**25, 4.0], dtype=np.float32), "items has 3.3.* in row 2: users"),
        ([True, False, True, True], "items has True in row 0: users and items must be"),
        (np.array([True, False, True, True]), "items are bool: users and items must be"),
        (dates("2020", "2021", "2020", "2021"), "items are datetime64"),
        (["a", Decimal("1.5"), "b", "c"], "items has 1.5 in row 1: users and items must be"),
        (["a", ("b",), "c", "d"], r"items has \('b',\) in row 1"),
        ({"a", "b", "c", "d"}, "items must be a column, such as a list or an array, got a set"),
        (dict.fromkeys("abcd"), "items must be a column, .* got a dict"),
        ("abcd", "items must be a column, .* got 'abcd'"),
        (5, "items must be a column, .* got 5"),
        (np.array(5), r"items must be one column \(E,\), got the shape \(\)"),
        (np.array([[1, 2], [3, 4]]), r"items must be one column \(E,\), got the shape \(2, 2\)"),
        (torch.ones(2, 2, dtype=torch.int64), r"items must be one column .* shape \(2, 2\)"),
    ],
)
def test_tokens_that_are_missing_or_no_tokens(items, message):
    for arguments in ((USERS, items), (items, USERS)):
        name = "items" if arguments[1] is items else "users"
        with pytest.raises(DataError, match=message.replace("items", name, 1)):
            Interactions.from_columns(*arguments)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("weights", [1.0, NA, 1.0, 1.0], "weights has no value in row 1"),
        ("weights", [1.0, 1.0, np.inf, 1.0], "weights has inf in row 2: weights must be finite"),
        ("weights", [1.0, 1e300, 1.0, 1.0], "weights has 1e.300 in row 1"),
        ("weights", [1, 10**400, 1, 1], "weights has 1000.* in row 1: weights must be finite"),
        ("weights", [1, 1, 10**5000, 1], "weights has an integer of very many digits in row 2"),
        ("weights", ["1", "2", "3", "4"], "weights are str objects"),
        ("parts", [0, 1, NA, 2], "parts has <NA> in row 2: write 0 for"),
        ("parts", ["train", "test", "test", "test"], "parts has 'train' in row 0"),
        ("parts", [0, 1.5, 2, 2], "parts has 1.5 in row 1"),
    ],
)
def test_weights_and_parts(name, column, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_columns(USERS, ["a", "b", "c", "d"], [1, 2, 3, 4], **{name: column})


INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=3)


@given(
    st.one_of(
        st.lists(INT64, min_size=1, max_size=8),
        st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8),
        st.lists(TEXT, min_size=1, max_size=8),
    ),
    st.sampled_from([list, lambda column: np.array(column, dtype=object), pl.Series]),
)
def test_tokens_come_back_as_they_were(items, make):
    if make is pl.Series and not isinstance(items[0], str) and max(items) >= 2**63:
        column = pl.Series(items, dtype=pl.UInt64)
    else:
        column = make(items)
    data = Interactions.from_columns([1] * len(items), column)
    assert data.item_vocabulary.decode(data.items) == items
    assert data.item_vocabulary.tokens == sorted(set(items))


@given(st.lists(INT64, min_size=1, max_size=8), st.sampled_from([list, np.array, torch.tensor, pd.Series]))
def test_integer_times_come_back_as_they_were(times, make):
    data = Interactions.from_columns([1] * len(times), range(len(times)), make(times))
    assert data.times.dtype == torch.int64
    assert data.times.tolist() == sorted(times)


def test_whole_floats_are_integers_as_in_a_table():
    data = Interactions.from_columns(np.array([3.0, 1.0]), pd.Series([7.0, 8.0]))
    assert data.user_vocabulary.tokens == [1, 3]
    assert data.item_vocabulary.tokens == [7, 8]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("make", [pd.Series, list, pd.DatetimeIndex, lambda times: times.astype(object)])
def test_date_times_with_and_without_a_zone(zone, make):
    texts = ["2024-07-01T12:00:00.000000001", "2024-01-01", "1965-01-01T00:00:00.5"]
    times = pd.Series([pd.Timestamp(text).as_unit("ns") for text in texts])
    expected = times.astype("int64").tolist()
    if zone is not None:
        times = times.dt.tz_localize("UTC").dt.tz_convert(zone)
    data = Interactions.from_columns([1, 2, 3], [1, 2, 3], make(times))
    assert data.times.tolist() == expected
    assert data.has_dates


def test_tensors_on_the_way_of_a_gradient():
    times = torch.tensor([3.0, 1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    events = Interactions.from_columns(torch.tensor(USERS), torch.arange(4), times)
    assert events.times.tolist() == [1, 3, 2, 4]


def test_pythons_own_dates():
    zone = timezone(timedelta(hours=5, minutes=30))
    for times, expected in [
        ([date(1970, 1, 2), date(1969, 12, 31)], [86_400, -86_400]),
        ([datetime(1970, 1, 1, 0, 0, 1), date(1970, 1, 2)], [1, 86_400]),
        ([datetime(1970, 1, 1, 6, tzinfo=zone), datetime(1970, 1, 1, tzinfo=timezone.utc)], [1800, 0]),
    ]:
        data = Interactions.from_columns([1, 2], [1, 2], times)
        assert data.times.tolist() == [second * 10**9 for second in expected]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([datetime(2024, 1, 1), datetime(3000, 1, 1)], "3000-01-01 00:00:00 in row 1, which is before 1678"),
        ([pd.Timestamp("2024-01-01"), pd.Timestamp("3000-01-01")], "3000-01-01.* in row 1, which is before"),
        ([datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=timezone.utc)], "row 1, which has a time zone"),
        ([pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01")], "row 1, which has no time zone"),
        ([datetime(2024, 1, 1), 5], "times has 5 in row 1, which is not a date"),
        ([datetime(2024, 1, 1), pd.NaT], "times has no value in row 1"),
    ],
)
def test_date_times_that_cannot_order_events(times, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_columns([1, 2], [1, 2], times)


def test_columns_that_can_be_read_only_once():
    data = Interactions.from_columns((user for user in "ba"), iter([7, 8]))
    assert data.user_vocabulary.decode(data.users) == ["a", "b"]


def test_dates_keep_their_order_whatever_their_unit():
    days = ["2261-01-01", "1700-01-01", "1969-12-31", "1970-01-01"]
    for unit in ("D", "h", "s", "ms", "us", "ns"):
        data = Interactions.from_columns([1] * 4, ["d", "a", "b", "c"], dates(*days, unit=unit))
        assert data.item_vocabulary.decode(data.items) == ["a", "b", "c", "d"]
        assert data.has_dates
        assert data.readable_time(int(data.times[0])) == "1700-01-01T00:00:00"


def test_integers_of_128_bits_are_read_as_pythons():
    small, large = [[3, 1, 2, 1], [2**70, 1, 2, 1]]
    for values in (small, large):
        column = pl.Series(values, dtype=pl.Int128)
        events = Interactions.from_columns(column, column, pl.Series(small, dtype=pl.Int128))
        plain = Interactions.from_columns(values, values, small)
        assert events.item_vocabulary.tokens == plain.item_vocabulary.tokens
        assert events.times.tolist() == plain.times.tolist()


def test_bytes_are_text_in_utf8():
    users = np.array(["é".encode(), b"a", b"b", b"a"])
    assert Interactions.from_columns(users, USERS).user_vocabulary.tokens == ["a", "b", "é"]
    with pytest.raises(DataError, match=r"users has b'\\xe9' in row 2, which is not UTF-8: decode it"):
        Interactions.from_columns(np.array([b"a", b"b", b"\xe9", b"c"]), USERS)
    with pytest.raises(DataError, match=r"the token b'\\xe9' is not UTF-8 text"):
        Vocabulary(np.array([b"\xe9"]))

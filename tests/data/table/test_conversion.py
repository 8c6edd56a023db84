"""Ids, times and numbers from columns; a mistake names the file, the column and the first bad row."""

import re
from datetime import date, time, timedelta
from decimal import Decimal

import polars as pl
import pytest
import torch

from lightning_croloss import TableDataModule
from lightning_croloss.data import Predefined
from lightning_croloss.errors import DataError
from tests.data.table.tables import GOOD, refusal, refused
from tests.data_for_tests import token_sequences


def test_integers_are_sorted_as_numbers_and_stay_integers(make):
    columns = {"user_id": [10, 9, 100], "item_id": [3, 20, 100], "timestamp": [1, 2, 3]}
    for name in ("x.parquet", "x.csv", "x.tsv"):
        module = make(columns, name)
        assert module.user_vocabulary.tokens == [9, 10, 100]
        assert module.item_vocabulary.tokens == [3, 20, 100]


@pytest.mark.parametrize("kind", [pl.Int8, pl.UInt32, pl.Int64, pl.UInt64, pl.Float64, pl.Float32])
def test_integer_types(make, kind):
    columns = {"user_id": pl.Series([2, 1], dtype=kind), "item_id": ["a", "b"], "timestamp": [1, 2]}
    assert make(columns).user_vocabulary.tokens == [1, 2]


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["z", "10", "9"]), pl.String])
def test_text_types(make, kind):
    columns = {"user_id": pl.Series(["z", "9", "10"], dtype=kind), "item_id": [1, 2, 3], "timestamp": 0}
    assert make(columns).user_vocabulary.tokens == ["10", "9", "z"]


def test_text_in_parquet_stays_text(make):
    columns = {"user_id": ["10", "9"], "item_id": ["007", "7"], "timestamp": [1, 2]}
    assert make(columns).user_vocabulary.tokens == ["10", "9"]


def test_leading_zeros_are_kept(make):
    columns = {"user_id": ["10", "9"], "item_id": ["007", "7"], "timestamp": [1, 2]}
    module = make(columns, "x.csv")
    assert module.user_vocabulary.tokens == [9, 10]
    assert module.item_vocabulary.tokens == ["007", "7"]


def test_hashes_of_64_bits(make):
    columns = {"user_id": pl.Series([2**64 - 1, 5], dtype=pl.UInt64), "item_id": [1, 2], "timestamp": 0}
    assert make(columns).user_vocabulary.tokens == [5, 2**64 - 1]


SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [
        (["1970-01-02", "1970-01-01"], [86_400, 0]),
        (["1970-01-01T00:01", "1970-01-01T00:00:02"], [60, 2]),
        (["1970-01-01 00:00:00.25", "1970-01-01T00:00:00,000000001"], [0.25, 1e-9]),
        (["1970-01-01T02:00:00+02:00", "1970-01-01T00:00:01Z"], [0, 1]),
        (["1969-12-31T23:59:59-0130", "1970-01-01T01:00:00+00"], [5399, 3600]),
        (["12", "-3"], [12e-9, -3e-9]),
    ],
)
def test_times_as_text(make, texts, seconds):
    columns = {"user_id": ["u", "v"], "item_id": ["a", "b"], "timestamp": texts}
    for name in ("x.parquet", "x.csv"):
        times = make(columns, name).interactions.times
        assert times.dtype == torch.int64
        assert times.tolist() == [round(second * SECOND) for second in seconds]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_date_times_in_parquet(make, unit):
    series = pl.Series(["2024-05-31T18:30:00.125"]).str.to_datetime(time_unit=unit)
    for times in (series, series.dt.replace_time_zone("Europe/Berlin")):
        module = make({"user_id": ["u"], "item_id": ["a"], "timestamp": times})
        expected = times.dt.epoch("ms")[0] * 1_000_000
        assert module.interactions.times.tolist() == [expected]


def test_dates_in_parquet(make):
    days = pl.Series(["1970-01-03", "1970-01-01"]).str.to_date()
    module = make({"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": days})
    assert module.interactions.times.tolist() == [0, 2 * 86_400 * SECOND]


def test_numbers_are_exact(make):
    large = 2**53 + 1
    columns = {"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": [large, large - 1]}
    for name in ("x.parquet", "x.csv"):
        assert token_sequences(make(columns, name)) == {"u": ["b", "a"]}
    columns["timestamp"] = [881250949.5, 881250949.25]
    for name in ("x.parquet", "x.csv"):
        module = make(columns, name)
        assert module.interactions.times.tolist() == [881250949.25, 881250949.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["1", "2", "noon"],
            "row 3: column 'timestamp' holds 'noon', which is not a number, as the first is",
        ),
        (
            ["1", "2.5", "inf"],
            "row 3: column 'timestamp' holds 'inf', which is not a number, as the first is",
        ),
        (
            ["1", "18446744073709551614", "18446744073709551615"],
            "row 2: column 'timestamp' holds '18446744073709551614', an integer that is too large for a time",
        ),
        (
            ["1.5", "9007199254740993", "9007199254740992"],
            "row 2: column 'timestamp' holds '9007199254740993', an integer that is too large for a time",
        ),
        (["noon", "1", "2"], "row 1: column 'timestamp' holds 'noon', which is not an ISO date or date-time"),
        (["2024-01-01", "1", "2024-02-30"], "row 2: column 'timestamp' holds '1', which is not an ISO date"),
        (
            ["2024-01-01", "2024-02-30", "x"],
            "row 2: column 'timestamp' holds '2024-02-30', which is not an ISO",
        ),
        (
            ["2024-01-01T25:00", "2024-01-01", "x"],
            "row 1: column 'timestamp' holds '2024-01-01T25:00', which",
        ),
        (
            ["2024-01-01T00:60", "2024-01-01", "x"],
            "row 1: column 'timestamp' holds '2024-01-01T00:60', which",
        ),
        (["9999-12-31", "2024-01-01", "x"], "row 1: column 'timestamp' holds '9999-12-31', which is not an"),
        (
            ["2024-01-01T00:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00Z"],
            "row 2: column 'timestamp' holds '2024-01-01T00:00:00', which has no time zone, unlike the first",
        ),
        ([1.0, float("inf"), 2.0], "row 2: column 'timestamp' holds inf, which is not a finite number"),
        (
            [date(2024, 1, 1), date(9999, 1, 1), date(2024, 1, 1)],
            "row 2: column 'timestamp' holds 9999-01-01",
        ),
    ],
)
def test_times_that_cannot_be_read(tmp_path, values, message):
    assert f"x.parquet, {message}" in refused({"timestamp": values}, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pl.Series([1, 2, 3], dtype=pl.Float32), "holds Float32, which is too coarse to order events"),
        ([True, False, True], "holds Boolean, not times"),
        ([time(1), time(2), time(3)], "holds Time, not times"),
        ([timedelta(1)] * 3, "not times"),
        ([[1], [2], [3]], "not times"),
    ],
)
def test_columns_that_are_no_times(tmp_path, values, message):
    said = refused({"timestamp": values}, tmp_path)
    assert said.startswith("x.parquet: column 'timestamp' holds ")
    assert message in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2.0, 3.0], "x.parquet, row 1: column 'item_id' holds 1.5: users and items must be integers"),
        ([1.0, 2.0, float("inf")], "x.parquet, row 3: column 'item_id' holds inf: users and items must be"),
        ([True, False, True], "x.parquet: column 'item_id' holds Boolean: users and items must be"),
        ([date(2024, 1, 1)] * 3, "x.parquet: column 'item_id' holds Date: users and items must be"),
        ([["a"], ["b"], ["c"]], "x.parquet: column 'item_id' holds List(String): users and items must be"),
        (["a", "b\0", "c"], "x.parquet, row 2: column 'item_id' holds a NUL character"),
    ],
)
def test_columns_that_are_no_ids(tmp_path, values, message):
    assert refused({"item_id": values}, tmp_path).startswith(message)


@pytest.mark.parametrize(
    ("times", "window", "message"),
    [
        ([1, 2, 3], {"time_from": "2024-01-01"}, "time_from='2024-01-01' must be a number, as the times are"),
        (["2024-01-01"] * 3, {"time_until": 5}, "time_until=5 must be an ISO date"),
        (["2024-01-01"] * 3, {"time_until": "May"}, "time_until='May' is not an ISO date"),
        (
            [1, 2, 3],
            {"time_from": 9},
            "nothing is left after the filters (read 3 interactions, 2 users, 2 items;",
        ),
    ],
)
def test_time_windows(tmp_path, times, window, message):
    assert message in refused({"timestamp": times}, tmp_path, **window)


class TestDatesThatAreNotISO:
    @pytest.mark.parametrize(
        ("dates", "said"),
        [
            (["03/31/2024", "04/01/2024"], "looks like month, day, year: .*format='%m/%d/%Y'"),
            (["01/02/2024", "31/03/2024"], "looks like day, month, year: .*format='%d/%m/%Y'"),
            (["01/02/2024", "03/04/2024"], "or month, day, year, which the column does not tell apart"),
            (["31.03.2024", "1.4.2024"], r"looks like day, month, year: .*'%d\.%m\.%Y'"),
            (["31-03-24", "01-04-24"], "'%d-%m-%y'"),
            (["2024/03/31", "2024/04/01"], "looks like year, month, day: .*'%Y/%m/%d'"),
            (["03/31/2024 18:30", "04/01/2024 18:30"], "'%m/%d/%Y %H:%M'"),
            (["03/31/2024 6:30:00 PM", "04/01/2024 6:30:00 PM"], "'%m/%d/%Y %I:%M:%S %p'"),
            (["31 Mar 2024", "1 Apr 2024"], "names its month"),
            (["Sun, 31 Mar 2024 18:30:00 GMT", "x"], "names its month"),
            (["Mar 31, 2024", "x"], "names its month"),
            (["18:30", "18:31"], "a time of day"),
            (["40/40/2024", "41/40/2024"], "no day and month in either order"),
            (["soon", "later"], "since 1970$"),
            (["2024-02-30", "2024-03-01"], "no such day or time, or it is outside of"),
        ],
    )
    def test_the_first_is_said_to_be_neither_number_nor_iso(self, tmp_path, dates, said):
        path = tmp_path / "t.csv"
        path.write_text("user_id,item_id,timestamp\n" + "".join(f'a,b,"{date}"\n' for date in dates))
        with pytest.raises(DataError, match=said) as caught:
            TableDataModule(str(path)).load()
        text = str(caught.value)
        assert text.startswith(f"t.csv, line 2: column 'timestamp' holds '{dates[0]}', which is not an ISO")
        assert ", nor a number such as seconds since 1970" in text
        assert "as the first is" not in text

    def test_a_later_one_is_unlike_the_first(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("user_id,item_id,timestamp\na,b,2024-01-02\na,c,03/31/2024\n")
        with pytest.raises(
            DataError, match=r"line 3: .*'03/31/2024', which is not an ISO .*, as the first is; it"
        ):
            TableDataModule(str(path)).load()


@pytest.mark.parametrize(
    ("numbers", "scale", "dtype"),
    [
        ([2**60 + 2, 2**60 + 1, 2**60], 0, torch.int64),
        ([-1, -(2**53) - 1, 2**62], 0, torch.int64),
        (["1.5", "0.25", "-3"], 2, torch.float64),
        (["1700000000.123456", "1700000000.123455", "0"], 6, torch.float64),
    ],
)
def test_decimals_keep_their_order(make, numbers, scale, dtype):
    exact = [Decimal(number) for number in numbers]
    columns = {
        "user_id": [1, 1, 1],
        "item_id": [0, 1, 2],
        "timestamp": pl.Series(exact, dtype=pl.Decimal(38, scale)),
    }
    module = make(columns)
    assert module.interactions.times.dtype == dtype
    assert [Decimal(str(time)) for time in module.interactions.times.tolist()] == sorted(exact)
    assert token_sequences(module) == {1: sorted(range(3), key=exact.__getitem__)}


@pytest.mark.parametrize(
    ("number", "scale", "said"),
    [
        (2**63, 0, "which is too large for a time"),
        ("1152921504606846977.0", 1, "which has more digits than a time can have"),
        ("1700000000.1234567891", 10, "which has more digits than a time can have"),
    ],
)
def test_decimals_that_would_lose_their_order(tmp_path, number, scale, said):
    times = pl.Series([Decimal(1), Decimal(number), Decimal(3)], dtype=pl.Decimal(38, scale))
    assert said in (message := refused({"timestamp": times}, tmp_path))
    assert message.startswith("x.parquet, row 2: column 'timestamp' holds ")


UNTOLD = {
    "durations": [timedelta(1), timedelta(2), timedelta(3)],
    "bytes": [b"\xff", b"\xfe", b"\xfd"],
    "lists": [[timedelta(1)], [timedelta(2)], [timedelta(3)]],
}


@pytest.mark.parametrize("values", UNTOLD.values(), ids=UNTOLD)
@pytest.mark.parametrize("use", ["part", "title", "categorical", "multi"])
def test_what_has_no_text_is_refused(tmp_path, values, use):
    items = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ["a", "b", "c"], "x": values}).write_parquet(items)
    if use == "part":
        said = refused({"x": values}, tmp_path, split=Predefined(column="x"))
    else:
        wanted = {"title_column": "x"} if use == "title" else {"item_features": [f"x:{use}"]}
        pl.DataFrame(GOOD).write_parquet(tmp_path / "x.parquet")
        module = TableDataModule(
            str(tmp_path / "x.parquet"), items=str(items), min_user_interactions=1, **wanted
        )
        with pytest.raises(DataError) as caught:
            module.item_titles if use == "title" else module.item_feature_specs  # noqa: B018
        said = str(caught.value)
    assert re.match(r"(x|items)\.parquet: column 'x' holds ", said)


def test_a_bound_beyond_what_nanoseconds_hold(tmp_path):
    pl.DataFrame({**GOOD, "timestamp": [date(2024, 1, day) for day in (1, 2, 3)]}).write_parquet(
        tmp_path / "x.parquet"
    )
    said = refusal(tmp_path / "x.parquet", time_until="9999-12-31")
    assert said == "time_until='9999-12-31' is before 1678 or after 2261"
    assert "is not an ISO date" in refusal(tmp_path / "x.parquet", time_until="9999-12-32")

"""Each mistake in a table is one sentence that names the file, the column and the first bad row."""

import re
from datetime import date, time, timedelta

import polars as pl
import pytest

from lightning_croloss.data import TableDataModule
from lightning_croloss.errors import DataError

GOOD = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "timestamp": [1, 2, 3]}


def refusal(source, **arguments):
    with pytest.raises(DataError) as caught:
        TableDataModule(str(source), **{"min_user_interactions": 1, **arguments}).report  # noqa: B018
    said = str(caught.value)
    assert "\n" not in said
    return said


def refused(frame, tmp_path, **arguments):
    path = tmp_path / "x.parquet"
    pl.DataFrame({**GOOD, **frame}).write_parquet(path)
    return refusal(path, **arguments)


# ---------------------------------------------------------------------- files


def test_a_missing_file(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "events.parquet")
    assert refusal(tmp_path / "event.parquet").endswith("; did you mean 'events.parquet'?")
    assert "there is no file" in refusal(tmp_path / "no" / "x.csv")
    assert "nor the folder" in refusal(tmp_path / "no" / "x.csv")
    assert "matches no file" in refusal(tmp_path / "*.csv")


def test_a_folder_without_tables(tmp_path):
    (tmp_path / "notes.docx").write_text("x")
    assert "has no file with an extension .parquet" in refusal(tmp_path)
    assert "notes.docx has no extension that can be read" in refusal(tmp_path / "notes.docx")


def test_a_folder_of_several_kinds(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(GOOD).write_csv(tmp_path / "b.csv")
    assert "holds files of different kinds (.csv, .parquet): name one" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.inter"])
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path / name) == f"{name} is empty"


def test_no_rows(tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id,timestamp\n")
    assert refusal(tmp_path / "x.csv") == "x.csv has no rows: it is empty"
    pl.DataFrame(GOOD).clear().write_parquet(tmp_path / "x.parquet")
    assert refusal(tmp_path / "x.parquet") == "x.parquet has no rows: it is empty"


@pytest.mark.parametrize("kept", [4, 20, 0.5, -1])
def test_a_truncated_parquet_file(tmp_path, kept):
    path = tmp_path / "x.parquet"
    pl.DataFrame(GOOD).write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    assert refusal(path).startswith("x.parquet is damaged or cut off: ")


def test_a_damaged_parquet_file(tmp_path):
    path = tmp_path / "x.parquet"
    pl.DataFrame({**GOOD, "timestamp": [1, 2, 3]}).write_parquet(path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    assert refusal(path).startswith("x.parquet cannot be read: ")


def test_a_truncated_text_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,timestamp\nu,a,1\nu,b")
    assert refusal(path).startswith("x.csv, line 3: column 'timestamp' has no value (1 such rows)")


def test_a_file_that_is_not_what_its_extension_says(tmp_path):
    (tmp_path / "x.parquet").write_text("user_id,item_id,timestamp\nu,a,1\n")
    assert refusal(tmp_path / "x.parquet") == "x.parquet is not a Parquet file, whatever its extension says"
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.csv")
    assert refusal(tmp_path / "x.csv") == "x.csv is not a text file, whatever its extension says"
    (tmp_path / "y.csv").write_bytes("user_id,item_id\nu,a\n".encode("utf-16"))
    assert refusal(tmp_path / "y.csv") == "y.csv is not a text file, whatever its extension says"
    (tmp_path / "y.csv").write_text("user_id\titem_id\ttimestamp\nu\ta\t1\n")
    assert refusal(tmp_path / "y.csv").endswith(
        "the header has one column only: is the separator really ','?"
    )


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "x.csv").write_bytes("user_id,item_id,timestamp\nü,a,1\n".encode("latin-1"))
    assert refusal(tmp_path / "x.csv").startswith("x.csv cannot be read: ")
    assert "utf-8" in refusal(tmp_path / "x.csv").lower()


def test_too_many_fields(tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,a,1,2\n")
    assert refusal(tmp_path / "x.csv").startswith("x.csv cannot be read: found more fields than defined")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "user_id:token\titem_id\ttimestamp:float",
            "the header of x.inter has 'item_id': write name and type",
        ),
        ("user_id:token\titem_id:token\titem_id:float", "x.inter has two columns 'item_id' in its header"),
    ],
)
def test_a_malformed_header(tmp_path, header, message):
    (tmp_path / "x.inter").write_text(header + "\nu\ta\t1\n")
    assert refusal(tmp_path / "x.inter").startswith(message)


# ---------------------------------------------------------------------- columns


@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_a_renamed_column(tmp_path, name):
    frame = pl.DataFrame(GOOD).rename({"timestamp": "time_stamp"})
    (frame.write_csv if name == "x.csv" else frame.write_parquet)(tmp_path / name)
    assert refusal(tmp_path / name) == (
        f"time_column names 'timestamp', which is not a column of {name}; did you mean 'time_stamp'?"
    )


def test_a_column_that_one_of_several_files_lacks(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(GOOD).drop("item_id").write_parquet(tmp_path / "b.parquet")
    assert "item_column names 'item_id', which is not a column of b.parquet" in refusal(tmp_path)


def test_files_that_do_not_fit_together(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({**GOOD, "item_id": [1, 2, 3]}).write_parquet(tmp_path / "b.parquet")
    assert refusal(tmp_path) == (
        "column 'item_id' holds text in a.parquet, but numbers in b.parquet: give it one type"
    )
    pl.DataFrame({**GOOD, "timestamp": [date(2024, 1, 1)] * 3}).write_parquet(tmp_path / "b.parquet")
    assert refusal(tmp_path) == (
        "column 'timestamp' holds numbers in a.parquet, but dates in b.parquet: give it one type"
    )
    zoned = pl.Series(["2024-05-31T18:30Z", "2024-05-31T18:30Z", "2024-05-31T18:30Z"]).str.to_datetime()
    for name, times in (("a", zoned), ("b", zoned.dt.replace_time_zone(None))):
        pl.DataFrame({**GOOD, "timestamp": times}).write_parquet(tmp_path / f"{name}.parquet")
    assert refusal(tmp_path).startswith("the files of a.parquet and 1 more do not fit together: ")
    pl.DataFrame({**GOOD, "timestamp": [1.0, 2.0, 3.0]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({**GOOD, "timestamp": [2**53 + 1, 2, 3]}).write_parquet(tmp_path / "b.parquet")
    assert refusal(tmp_path).startswith(
        "column 'timestamp' holds integers beyond 2^53 in b.parquet, but another"
    )


@pytest.mark.parametrize("column", GOOD)
def test_nulls(tmp_path, column):
    values = [*GOOD[column][:2], None]
    said = refused({column: values}, tmp_path)
    assert said.startswith(f"x.parquet, row 3: column {column!r} has no value (1 such rows): fill it, or set")
    assert refused({"item_id": ["a", "", "b"]}, tmp_path).startswith("x.parquet, row 2: column 'item_id'")


def test_rows_are_those_of_the_file(tmp_path):
    pl.DataFrame(GOOD).write_csv(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("user_id,item_id,timestamp\nu,a,1\n\nu,,1\n")
    assert refusal(tmp_path).startswith("b.csv, line 4: column 'item_id' has no value")
    (tmp_path / "b.csv").write_text("user_id,item_id,timestamp\nu,a,1\n\nu,,1\nu,a,noon\n")
    assert refusal(tmp_path, drop_missing=True).startswith("b.csv, line 5: column 'timestamp' holds 'noon'")


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
    ("values", "message"),
    [
        ([1.0, -1.0, 2.0], "x.parquet, row 2: column 'w' holds -1.0, below 0"),
        ([1.0, 2.0, float("inf")], "x.parquet, row 3: column 'w' holds inf, which is not a finite number"),
        (["1", "much", "2"], "x.parquet, row 2: column 'w' holds 'much', which is not a finite number"),
        ([1.0, None, 2.0], "x.parquet, row 2: column 'w' has no value"),
        ([date(2024, 1, 1)] * 3, "x.parquet: column 'w' holds Date, not numbers"),
    ],
)
def test_weights_and_values(tmp_path, values, message):
    assert refused({"w": values}, tmp_path, weight_column="w").startswith(message)
    if "below" not in message:
        assert refused({"w": values}, tmp_path, value_column="w", min_value=0).startswith(message)


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


def test_nothing_left(tmp_path):
    said = refused({}, tmp_path, min_user_interactions=3)
    assert said == (
        "x.parquet: nothing is left after the filters (read 3 interactions, 2 users, 2 items; "
        "users with fewer than 3 interactions: dropped 3 interactions, 2 users, 2 items; "
        "left 0 interactions, 0 users, 0 items): make them milder"
    )


# ---------------------------------------------------------------------- features


def features(tmp_path, frame, *wanted, name="i.parquet", **arguments):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "x.parquet")
    path = tmp_path / name
    if frame is not None:
        (pl.DataFrame(frame).write_csv if path.suffix == ".csv" else pl.DataFrame(frame).write_parquet)(path)
    return refusal(tmp_path / "x.parquet", items=str(path), item_features=wanted, **arguments)


ITEMS = {"item_id": ["a", "b", "z"], "kind": ["x", "y", "x"], "price": [1, 2, 3]}


def test_feature_files_and_columns(tmp_path):
    assert features(tmp_path, None, "kind").startswith("items: there is no file ")
    assert features(tmp_path, ITEMS, "prise") == "i.parquet has no feature 'prise'; did you mean 'price'?"
    assert "no feature 'item_id'" in features(tmp_path, ITEMS, "item_id")
    assert features(tmp_path, ITEMS, "kind", items_id_column="itm") == (
        "items_id_column names 'itm', which is not a column of i.parquet; did you mean 'item_id'?"
    )
    assert "is wanted twice" in features(tmp_path, ITEMS, "kind", "kind")
    assert "of type 'String' must be one of categorical, multi" in features(tmp_path, ITEMS, "kind:text")
    days = {**ITEMS, "day": [date(2024, 1, 1)] * 3}
    assert "feature 'day' of type 'Date' must be one of" in features(tmp_path, days, "day")


@pytest.mark.parametrize(("name", "place"), [("i.parquet", "row {}"), ("i.csv", "line {}")])
def test_feature_rows(tmp_path, name, place):
    third = f"{name}, {place.format(3 if 'row' in place else 4)}"
    second = f"{name}, {place.format(2 if 'row' in place else 3)}"
    first = f"{name}, {place.format(1 if 'row' in place else 2)}"
    twice = {**ITEMS, "item_id": ["a", "b", "a"]}
    assert features(tmp_path, twice, "kind", name=name) == (
        f"{third}: item_id 'a' stands again, after {first}: keep one"
    )
    nulls = {**ITEMS, "item_id": ["a", None, "b"]}
    assert features(tmp_path, nulls, "kind", name=name) == (
        f"{second}: column 'item_id' has no value: every row needs an id"
    )
    others = {**ITEMS, "item_id": ["7", "8", "9"]}
    assert features(tmp_path, others, "kind", name=name).startswith(
        f"{first}: column 'item_id' holds '7'; none"
    )


@pytest.mark.parametrize(
    ("column", "wanted", "message"),
    [
        (["1", "cheap", "2"], "f:numeric", "column 'f' is numeric, but holds 'cheap' in i.parquet, row 2"),
        ([1.0, float("inf"), 2.0], "f", "column 'f' is numeric, but holds 'inf' in i.parquet, row 2"),
        ([[1], [2], [3]], "f:numeric", "column 'f' holds lists: it can only be multi"),
        ([["p"], ["q"], ["r"]], "f:categorical", "column 'f' holds lists: it can only be multi"),
        (["x", "x", "y"], "f", "column 'f' is the same everywhere"),
        ([None, None, "y"], "f", "column 'f' is missing everywhere"),
        ([{"a": 1}] * 3, "f:categorical", "column 'f' holds Struct"),
    ],
)
def test_feature_values(tmp_path, column, wanted, message):
    assert features(tmp_path, {**ITEMS, "f": column}, wanted).startswith(f"i.parquet: {message}")


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"duplicates": "some"}, "duplicates='some' must be 'all', 'first' or 'last'"),
        ({"min_user_interactions": 0}, "min_user_interactions=0 must be at least 1"),
        ({"min_item_interactions": 0}, "min_item_interactions=0 must be at least 1"),
        ({"user_column": "item_id"}, "user_column and item_column are both 'item_id'"),
        ({"separator": ", "}, "separator=', ' must be one character"),
        ({"multi_separator": ""}, "multi_separator='' must be"),
        ({"min_value": 3}, "value_column goes with min_value or max_value"),
        ({"value_column": "rating"}, "value_column goes with min_value or max_value"),
        ({"value_column": "r", "min_value": 3, "max_value": 2}, "min_value=3 is beyond the other end, 2"),
        ({"time_from": 3, "time_until": 2}, "time_from=3 is beyond the other end, 2"),
        ({"time_column": None, "time_from": 3}, "time_from and time_until need a time_column"),
        ({"items": "i.csv"}, "items and item_features go together"),
        ({"title_column": "name"}, "title_column needs items: name the file"),
        ({"user_features": ["age"]}, "users and user_features go together"),
        ({"item_features": "kind", "items": "i.csv"}, "item_features='kind' must be a list"),
        ({"missing_values": "NA"}, "missing_values='NA' must be a list"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TableDataModule("x.parquet", **arguments)

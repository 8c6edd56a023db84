"""Reading columns of one or several files; a mistake names the file and the column."""

from datetime import date

import polars as pl
import pytest

from lightning_croloss.data import TableDataModule
from tests.data.table.tables import EVENTS, GOOD, refusal
from tests.data_for_tests import token_sequences


def test_several_files_are_one_table(make, tmp_path):
    make(EVENTS, "a/part-1.parquet")
    make({"item_id": ["d"], "user_id": ["u"], "timestamp": [7], "other": [1]}, "a/deeper/part-2.parquet")
    (tmp_path / "a" / "_SUCCESS").write_text("")
    (tmp_path / "a" / ".part-1.parquet.crc").write_text("x")
    for source in ("a", "a/**/*.parquet"):
        module = TableDataModule(str(tmp_path / source), min_user_interactions=1)
        assert token_sequences(module)["u"] == ["a", "b", "b", "b", "d"]
        assert sorted(module.report.sources) == ["part-1.parquet", "part-2.parquet"]


def test_only_the_columns_that_are_needed(make, monkeypatch):
    seen = []
    collect = pl.LazyFrame.collect

    def spy(self, *args, **kwargs):
        frame = collect(self, *args, **kwargs)
        seen.append(frame.columns)
        return frame

    monkeypatch.setattr(pl.LazyFrame, "collect", spy)
    make().interactions  # noqa: B018
    make(value_column="rating", min_value=0, time_column=None).interactions  # noqa: B018
    assert seen == [["user_id", "item_id", "timestamp"], ["user_id", "item_id", "rating"]]


def test_columns_have_the_names_that_the_user_says(make):
    columns = {"Wer?": ["u", "u"], "Was für": ["b", "a"], "t": [2, 1], "w": [1, 2]}
    module = make(columns, user_column="Wer?", item_column="Was für", time_column="t", weight_column="w")
    assert token_sequences(module) == {"u": ["a", "b"]}
    assert module.interactions.weights.tolist() == [2, 1]


def test_no_rows(tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id,timestamp\n")
    assert refusal(tmp_path / "x.csv") == "x.csv has no rows: it is empty"
    pl.DataFrame(GOOD).clear().write_parquet(tmp_path / "x.parquet")
    assert refusal(tmp_path / "x.parquet") == "x.parquet has no rows: it is empty"


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "x.csv").write_bytes("user_id,item_id,timestamp\nü,a,1\n".encode("latin-1"))
    assert refusal(tmp_path / "x.csv").startswith("x.csv cannot be read: ")
    assert "utf-8" in refusal(tmp_path / "x.csv").lower()


def test_too_many_fields(tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,a,1,2\n")
    assert refusal(tmp_path / "x.csv").startswith("x.csv cannot be read: found more fields than defined")


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


def test_rows_are_those_of_the_file(tmp_path):
    pl.DataFrame(GOOD).write_csv(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("user_id,item_id,timestamp\nu,a,1\n\nu,,1\n")
    assert refusal(tmp_path).startswith("b.csv, line 4: column 'item_id' has no value")
    (tmp_path / "b.csv").write_text("user_id,item_id,timestamp\nu,a,1\n\nu,,1\nu,a,noon\n")
    assert refusal(tmp_path, drop_missing=True).startswith("b.csv, line 5: column 'timestamp' holds 'noon'")

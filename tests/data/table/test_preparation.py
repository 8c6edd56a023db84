import io
import sys
from datetime import date

import polars as pl
import pytest
import torch

from lightning_croloss.data import Predefined, TableDataModule
from lightning_croloss.errors import DataError
from tests.data.table.tables import EVENTS, GOOD, dropped, refused
from tests.data_for_tests import token_sequences


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_what_is_at_work(make, monkeypatch, capsys):
    screen = Screen()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        assert make().report
    shown = screen.getvalue()
    stages = ["reading x.parquet", "checking the columns", "filtering", "numbering users and items"]
    places = [shown.index(stage) for stage in stages]
    assert places == sorted(places)
    assert "stage 4 of 4" in shown
    assert shown.rsplit("\r", 1)[1].strip() == "", "the bar goes when all is done"
    assert make().report
    assert "stage" not in capsys.readouterr().err, "nothing in a pipe"


def test_without_times_the_order_of_the_rows_counts(make):
    assert token_sequences(make(time_column=None)) == {"u": ["b", "a", "b", "b"], "v": ["c", "a"], "w": ["a"]}


def test_ids_do_not_depend_on_the_order_of_the_rows(make):
    frame = pl.DataFrame({**EVENTS, "timestamp": range(7)})
    one, two = make(frame).interactions, make(frame.sample(fraction=1, shuffle=True, seed=1)).interactions
    assert one.item_vocabulary == two.item_vocabulary
    assert torch.equal(one.items, two.items)


@pytest.mark.parametrize("values", [["fit", "dev", "exam"], [7, 8, 9]])
def test_parts_in_a_column(make, values):
    train, valid, test = values
    columns = {
        "user_id": "u",
        "item_id": list("abcd"),
        "timestamp": range(4),
        "fold": [test, train, valid, train],
    }
    split = Predefined(train, valid, test, column="fold")
    for name in ("x.parquet", "x.csv"):
        module = make(columns, name, split=split)
        assert token_sequences(module) == {"u": ["b", "d", "c", "a"]}
        assert module.interactions.parts.tolist() == [0, 0, 1, 2]
    with pytest.raises(DataError, match=r"x\.parquet, row 2: column 'fold' holds 'x', but the split knows"):
        make({**columns, "fold": [str(test), "x", "y", "z"]}, split=split).load()
    with pytest.raises(DataError, match="split's column names 'fold', which is not a column of"):
        make(split=split).load()


def test_blank_lines_are_counted(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,timestamp\nu,a,1\n\nu,b,2\n\n")
    module = TableDataModule(str(path), min_user_interactions=1)
    assert token_sequences(module) == {"u": ["a", "b"]}
    assert dropped(module) == {"blank": 2}
    path.write_text("user_id,item_id,timestamp\nu,a,1\n\nu,b,\n\n")
    with pytest.raises(DataError, match=r"x\.csv, line 4: column 'timestamp' has no value \(1 such rows\)"):
        TableDataModule(str(path), min_user_interactions=1).load()


def test_rows_without_a_value_are_dropped_if_wanted(make):
    columns = {
        "user_id": ["u", None, "u", "v", ""],
        "item_id": [1.0, 2.0, float("nan"), None, 3.0],
        "timestamp": 0,
    }
    module = make(columns, drop_missing=True)
    assert token_sequences(module) == {"u": [1]}
    assert dropped(module) == {"drop_missing": 4}


def test_other_texts_may_mean_missing(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,timestamp\nu,a,1\nNULL,a,1\n")
    module = TableDataModule(str(path), min_user_interactions=1, missing_values=["NULL"], drop_missing=True)
    assert token_sequences(module) == {"u": ["a"]}


@pytest.mark.parametrize("column", GOOD)
def test_nulls(tmp_path, column):
    values = [*GOOD[column][:2], None]
    said = refused({column: values}, tmp_path)
    assert said.startswith(f"x.parquet, row 3: column {column!r} has no value (1 such rows): fill it, or set")
    assert refused({"item_id": ["a", "", "b"]}, tmp_path).startswith("x.parquet, row 2: column 'item_id'")


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


def test_a_weight_beyond_its_type_names_its_row(tmp_path):
    said = refused({"w": [1.0, 1e39, 2.0]}, tmp_path, weight_column="w")
    assert said.startswith("x.parquet, row 2: column 'w' holds 1e+39, beyond float32")


def test_nothing_left(tmp_path):
    said = refused({}, tmp_path, min_user_interactions=3)
    assert said == (
        "x.parquet: nothing is left after the filters (read 3 interactions, 2 users, 2 items; "
        "users with fewer than 3 interactions: dropped 3 interactions, 2 users, 2 items; "
        "left 0 interactions, 0 users, 0 items): make them milder"
    )

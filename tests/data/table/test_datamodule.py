import io
import json
import logging
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch

from lightning_croloss.data import GlobalTime, Predefined, PreparationReport, TableDataModule
from lightning_croloss.errors import DataError
from tests.data_for_tests import token_sequences

EVENTS = {
    "user_id": ["u", "u", "v", "u", "v", "w", "u"],
    "item_id": ["b", "a", "c", "b", "a", "a", "b"],
    "timestamp": [3, 1, 5, 2, 4, 9, 6],
    "rating": [5.0, 2.0, 4.0, 4.0, 1.0, 3.0, 5.0],
}


@pytest.fixture
def make(tmp_path):
    """Make a data module from columns, as Parquet unless the name of the file says otherwise."""

    def build(columns=None, name="x.parquet", **arguments):
        frame = pl.DataFrame(EVENTS if columns is None else columns)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            frame.write_parquet(path)
        else:
            frame.write_csv(path, separator="," if path.suffix == ".csv" else "\t")
        source = path.parent if "/" in name else path
        return TableDataModule(str(source), **{"min_user_interactions": 1, **arguments})

    return build


def dropped(module):
    return {step.name: step.dropped.interactions for step in module.report.steps}


# ---------------------------------------------------------------------- reading


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.tsv", "folder/x.parquet", "folder/x.csv"])
def test_every_format_gives_the_same(make, name):
    module = make(name=name)
    assert token_sequences(module) == {"u": ["a", "b", "b", "b"], "v": ["a", "c"], "w": ["a"]}
    assert module.interactions.times.dtype == torch.int64
    assert module.interactions.times.tolist() == [1, 2, 3, 6, 4, 5, 9]
    assert (module.num_users, module.num_items) == (3, 3)


def test_atomic_files_of_recbole(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n1\t20\t881250950\n1\t3\t881250949\n2\t3\t881250949.5\n"
    )
    (folder / "shop.item").write_text("item_id:token\tprice:float\n3\t1\n20\t2\n")
    for source in (folder, folder / "shop.inter"):
        module = TableDataModule(str(source), min_user_interactions=1)
        assert token_sequences(module) == {1: [3, 20], 2: [3]}
        assert module.interactions.times.dtype == torch.float64


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


def test_several_files_are_one_table(make, tmp_path):
    make(EVENTS, "a/part-1.parquet")
    make({"item_id": ["d"], "user_id": ["u"], "timestamp": [7], "other": [1]}, "a/deeper/part-2.parquet")
    (tmp_path / "a" / "_SUCCESS").write_text("")
    (tmp_path / "a" / ".part-1.parquet.crc").write_text("x")
    for source in ("a", "a/**/*.parquet"):
        module = TableDataModule(str(tmp_path / source), min_user_interactions=1)
        assert token_sequences(module)["u"] == ["a", "b", "b", "b", "d"]
        assert sorted(module.report.sources) == ["part-1.parquet", "part-2.parquet"]


def test_compressed_text(tmp_path):
    import gzip

    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,item_id,timestamp\nu,a,1\nu,b,0\n"))
    assert token_sequences(TableDataModule(str(path), min_user_interactions=1)) == {"u": ["b", "a"]}


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


def test_without_times_the_order_of_the_rows_counts(make):
    assert token_sequences(make(time_column=None)) == {"u": ["b", "a", "b", "b"], "v": ["c", "a"], "w": ["a"]}


def test_separators(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id;item_id;timestamp\nu;a,b;1\n")
    assert token_sequences(TableDataModule(str(path), min_user_interactions=1, separator=";")) == {
        "u": ["a,b"]
    }


# ---------------------------------------------------------------------- ids


def test_ids_do_not_depend_on_the_order_of_the_rows(make):
    frame = pl.DataFrame({**EVENTS, "timestamp": range(7)})
    one, two = make(frame).interactions, make(frame.sample(fraction=1, shuffle=True, seed=1)).interactions
    assert one.item_vocabulary == two.item_vocabulary
    assert torch.equal(one.items, two.items)


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


# ---------------------------------------------------------------------- times


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


# ---------------------------------------------------------------------- filters


def test_values(make):
    module = make(value_column="rating", min_value=4)
    assert token_sequences(module) == {"u": ["b", "b", "b"], "v": ["c"]}
    assert dropped(module) == {"value": 3}
    assert module.report.steps[0].reason == "rating not at least 4"
    assert token_sequences(make(value_column="rating", min_value=2, max_value=4)) == {
        "u": ["a", "b"],
        "v": ["c"],
        "w": ["a"],
    }


def test_time_window(make):
    module = make(time_from=2, time_until=5.5)
    assert token_sequences(module) == {"u": ["b", "b"], "v": ["a", "c"]}
    assert dropped(module) == {"time": 3}
    columns = {**EVENTS, "timestamp": [f"2024-01-0{time}" for time in EVENTS["timestamp"]]}
    module = make(columns, time_from="2024-01-02", time_until="2024-01-06T00:00")
    assert token_sequences(module) == {"u": ["b", "b"], "v": ["a", "c"]}


@pytest.mark.parametrize(
    ("keep", "expected", "times"),
    [
        ("all", ["a", "b", "b", "b"], [1, 2, 3, 6]),
        ("first", ["a", "b"], [1, 2]),
        ("last", ["a", "b"], [1, 6]),
    ],
)
def test_duplicates(make, keep, expected, times):
    module = make(duplicates=keep)
    assert token_sequences(module)["u"] == expected
    assert module.interactions.times[: len(times)].tolist() == times
    assert token_sequences(module)["v"] == ["a", "c"]


def test_consecutive_repeats(make):
    columns = {"user_id": ["u"] * 6 + ["v"], "item_id": list("aabbaaa"), "timestamp": range(7)}
    module = make(columns, consecutive_repeats=False)
    assert token_sequences(module) == {"u": ["a", "b", "a"], "v": ["a"]}
    assert dropped(module) == {"consecutive_repeats": 3}


def test_minimum_counts_once_and_repeated(make):
    # without c, user v has one event left; without v, item a has one left
    columns = {"user_id": list("uuuvvww"), "item_id": list("bbaacbb"), "timestamp": range(7)}
    assert token_sequences(make(columns, min_user_interactions=2)) == {
        "u": ["b", "b", "a"],
        "v": ["a", "c"],
        "w": ["b", "b"],
    }
    module = make(columns, min_user_interactions=2, min_item_interactions=2)
    assert token_sequences(module) == {"u": ["b", "b", "a"], "w": ["b", "b"]}
    module = make(columns, min_user_interactions=2, min_item_interactions=2, k_core=True)
    assert token_sequences(module) == {"u": ["b", "b"], "w": ["b", "b"]}
    assert dropped(module) == {"min_interactions": 3}


def test_k_core_as_a_naive_loop(make):
    random = np.random.default_rng(0)
    users, items = random.integers(0, 40, 300), (random.random(300) ** 2 * 60).astype(int)
    module = make(
        {"user_id": users, "item_id": items, "timestamp": 0},
        min_user_interactions=5,
        min_item_interactions=4,
        k_core=True,
    )
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    while True:
        of_users, of_items = ([pair[side] for pair in pairs] for side in (0, 1))
        kept = [(u, i) for u, i in pairs if of_users.count(u) >= 5 and of_items.count(i) >= 4]
        if kept == pairs:
            break
        pairs = kept
    expected = {}
    for user, item in pairs:
        expected.setdefault(user, []).append(item)
    assert 0 < len(pairs) < 300
    assert token_sequences(module) == dict(sorted(expected.items()))


def test_filters_run_in_the_stated_order(make):
    columns = {
        "user_id": ["u"] * 6,
        "item_id": ["a", "a", "b", "a", None, "a"],
        "timestamp": [5, 4, 3, 2, 1, 0],
        "rating": [1, 5, 5, 5, 5, 5],
    }
    module = make(
        columns,
        value_column="rating",
        min_value=2,
        time_from=1,
        duplicates="last",
        consecutive_repeats=False,
        drop_missing=True,
        min_item_interactions=1,
        min_user_interactions=2,
    )
    # the last "a" has too small a value, so the one before it stays
    assert token_sequences(module) == {"u": ["b", "a"]}
    assert module.interactions.times.tolist() == [3, 4]
    assert dropped(module) == {
        "drop_missing": 1,
        "value": 1,
        "time": 1,
        "duplicates": 1,
        "consecutive_repeats": 0,
        "min_interactions": 0,
    }


# ---------------------------------------------------------------------- predefined parts


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_parts_in_files(make, tmp_path, suffix):
    make(
        {"user_id": [1, 1, 2, 1], "item_id": [5, 6, 6, 9], "timestamp": [8, 9, 0, 7]}, f"shop/train.{suffix}"
    )
    make({"user_id": [1], "item_id": [7], "timestamp": [3]}, f"shop/dev.{suffix}")
    make({"user_id": [2, 1], "item_id": [7, 8], "timestamp": [1, 0]}, f"shop/held-out.{suffix}")
    for names in (("train", "dev", "held-out"), (f"t*.{suffix}", f"dev.{suffix}", "held-out")):
        module = TableDataModule(str(tmp_path / "shop"), split=Predefined(*names), min_user_interactions=2)
        assert token_sequences(module) == {1: [9, 5, 6, 7, 8], 2: [6, 7]}
        assert module.interactions.parts.tolist() == [0, 0, 0, 1, 2, 0, 2]
        assert len(module.rows.test) == 2
    module = TableDataModule(
        str(tmp_path / "shop"), split=Predefined("train", 0.4, "held-out"), min_user_interactions=1
    )
    assert module.interactions.parts.tolist() == [0, 0, 1, 2, 0, 2]
    assert token_sequences(module)[1][-1] == 8


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


def test_duplicates_and_repeats_see_the_parts_in_order(make):
    columns = {"user_id": "u", "item_id": list("abab"), "timestamp": [0, 1, 2, 3], "fold": list("eeta")}
    split = Predefined("t", "a", "e", column="fold")
    module = make(columns, split=split, duplicates="first")
    assert token_sequences(module) == {"u": ["a", "b"]}
    assert module.interactions.parts.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("trian", "dev", "test"), "has no file 'trian' for the split; did you mean 'train'?"),
        (("train", "dev", "test"), "has several files 'dev': write one of dev.csv, dev.parquet"),
        (("train", "dev.csv", "d*.tsv"), "matches no file"),
    ],
)
def test_parts_that_are_not_there(make, tmp_path, names, message):
    for name in ("train.parquet", "dev.parquet", "dev.csv"):
        make(name=f"shop/{name}")
    with pytest.raises(DataError) as caught:
        TableDataModule(str(tmp_path / "shop"), split=Predefined(*names)).load()
    assert message in str(caught.value)


def test_parts_in_files_need_a_folder(make):
    with pytest.raises(DataError, match="is not a folder, but the split takes its parts from files"):
        make(split=Predefined()).load()


def test_dates_serve_a_split_in_time(make):
    columns = {**EVENTS, "timestamp": [f"2024-01-0{time}" for time in EVENTS["timestamp"]]}
    module = make(columns, split=GlobalTime("2024-01-03", "2024-01-05"))
    assert module.interactions.has_dates
    assert int(module.rows.training_events.sum()) == 2
    assert not make().interactions.has_dates


# ---------------------------------------------------------------------- report


def test_the_report_counts_and_is_said_once(make, caplog):
    with caplog.at_level(logging.INFO):
        module = make(min_user_interactions=2, value_column="rating", min_value=2)
        report = module.report
        module.interactions  # noqa: B018
    assert caplog.messages == [
        "x.parquet: read 7 interactions, 3 users, 3 items; rating not at least 2: dropped 1 interactions, "
        "0 users, 0 items; users with fewer than 2 interactions: dropped 2 interactions, 2 users, 1 items; "
        "left 4 interactions, 1 users, 2 items"
    ]
    plain = json.loads(json.dumps(report.to_dict()))
    assert PreparationReport.from_dict(plain) == report
    assert (report.left.interactions, report.left.users, report.left.items) == (4, 1, 2)


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


# ---------------------------------------------------------------------- import


def test_the_package_needs_no_polars():
    code = (
        "import sys; sys.modules['polars'] = None\n"
        "import lightning_croloss as c\n"
        "try: c.TableDataModule('x.parquet').load()\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("TableDataModule needs the extra [tables]")

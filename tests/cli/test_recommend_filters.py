"""``croloss recommend`` leaves out of a table what training left out: its lists are those of predict."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_croloss import GRU4Rec, RetrievalModel, load_pretrained, save_pretrained
from lightning_croloss.cli import main
from lightning_croloss.data import RecBoleDataModule, RetrievalDataModule, TableDataModule
from tests.cli.cases import error_of
from tests.data_for_tests import quiet_trainer

pl = pytest.importorskip("polars", reason="needs the extra [tables]")
pytestmark = pytest.mark.filterwarnings("ignore")

N = 5
COLUMNS = ["user_id", "item_id", "timestamp", "rating", "kind", "weight"]
#: Users with repeats, ties of times and ratings of 1 … 5, not in order; user 9's events are all disliked.
EVENTS: list[dict[str, Any]] = [
    {
        "user_id": user,
        "item_id": (3 * user + step // 2 % 7 * (user + 1)) % 16,
        "timestamp": 1000 + step * 2 // 3,
        "rating": 1.5 if user == 9 else float((step * user + step) % 5 + 1),
        "kind": ("view", "buy", "cart")[(step + user) % 3],
        "weight": 1.0,
    }
    for user in range(10)
    for step in sorted(range(20), key=lambda step: step * 7 % 20)
]
FIRST_DAY = datetime(2024, 5, 31)

#: Arguments of TableDataModule, all of which change the histories of the events.
OF_TABLES: dict[str, dict[str, Any]] = {
    "repeats": {"consecutive_repeats": False},
    "first": {"duplicates": "first"},
    "last": {"duplicates": "last"},
    "low": {"value_column": "rating", "min_value": 3},
    "high": {"value_column": "rating", "max_value": 3.5},
    "between": {"value_column": "rating", "min_value": 2.0, "max_value": 4},
    "from": {"time_from": 1004},
    "all": {
        "value_column": "rating",
        "min_value": 2,
        "time_from": 1001.5,
        "duplicates": "last",
        "consecutive_repeats": False,
    },
    "rows": {"time_column": None, "value_column": "rating", "min_value": 2, "consecutive_repeats": False},
}
#: RecBole's settings, the same.
OF_RECBOLE: dict[str, dict[str, Any]] = {
    "first": {"rm_dup_inter": "first"},
    "last": {"rm_dup_inter": "last"},
    "range": {"val_interval": {"rating": "[3,inf)"}},
    "ranges": {"val_interval": {"rating": "(1,2];[4,5)"}},
    "texts": {"val_interval": {"kind": ["view", "cart"]}},
    "from": {"val_interval": {"timestamp": "(1004,inf)"}},
    "before the others": {
        "rm_dup_inter": "first",
        "val_interval": {"rating": "[2,5]", "kind": ["view", "buy"]},
    },
    "rows": {"TIME_FIELD": None, "rm_dup_inter": "last", "val_interval": {"rating": "[2,inf)"}},
    "of items": {
        "val_interval": {"year": "[2000,inf)", "rating": "[2,inf)"},
        "load_col": {"inter": ["user_id", "item_id", "timestamp", "rating"], "item": ["item_id", "year"]},
    },
}


def write(path: Path, rows: list[dict[str, Any]], separator: str = ",", header: str = "") -> Path:
    lines = [separator.join("" if row[name] is None else str(row[name]) for name in COLUMNS) for row in rows]
    path.write_text("\n".join([header or separator.join(COLUMNS), *lines]) + "\n")
    return path


def model_of(data: RetrievalDataModule) -> Any:
    """A model that reads the order of a history, whose items it may recommend."""
    torch.manual_seed(0)
    return GRU4Rec(num_items=data.num_items, embedding_dim=8, ns=(N,), exclude_history=True)


def predicted(data: RetrievalDataModule, checkpoint: str = "model.ckpt") -> dict[str, list[str]]:
    """The lists of ``Trainer.predict``, whose model is written to a checkpoint."""
    model, trainer = model_of(data), quiet_trainer(limit_train_batches=1, limit_val_batches=0)
    trainer.fit(model, data)
    trainer.save_checkpoint(checkpoint)
    model.predicts_n = N
    rows = torch.cat([batch[0] for batch in trainer.predict(model, data)])
    tokens = model.metadata.item_vocabulary
    assert data.recipients is not None
    return {
        str(user): [str(item) for item in tokens.decode(row[row > 0])]
        for user, row in zip(data.recipients.vocabulary.tokens, rows, strict=True)
    }


def recommended(source: Path | str, *options: str, model: str = "model.ckpt") -> dict[str, dict[str, Any]]:
    words = ["recommend", f"--model={model}", f"--histories={source}", f"--n={N}", *options]
    main([*words, "--output=out.jsonl", "--overwrite"])
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    return {str(line["user"]): line for line in lines}


def items(found: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    return {user: [str(item) for item in line["items"]] for user, line in found.items()}


def check_like_predict(data: RetrievalDataModule, source: Path) -> None:
    expected = predicted(data)
    found = recommended(source)
    assert found.keys() == {str(row["user_id"]) for row in EVENTS}  # a user of no event that is left, too
    for user, line in found.items():
        assert line["fallback"] == (user not in expected)
    assert {user: list_ for user, list_ in items(found).items() if user in expected} == expected
    unfiltered = items(recommended(source, "--all-events"))
    assert any(unfiltered[user] != expected[user] for user in expected)


@pytest.mark.parametrize("name", OF_TABLES)
def test_a_table_is_filtered_as_in_training(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "events.csv", EVENTS)
    check_like_predict(TableDataModule(str(source), min_user_interactions=2, **OF_TABLES[name]), source)


@pytest.mark.parametrize("name", OF_RECBOLE)
def test_a_recbole_data_set_is_filtered_as_in_training(name: str, tmp_path: Path) -> None:
    pytest.importorskip("recbole", reason="needs the extra [recbole]")
    folder = tmp_path / "shop"
    folder.mkdir()
    kinds = ("token", "token", "float", "float", "token", "float")
    header = "\t".join(f"{column}:{kind}" for column, kind in zip(COLUMNS, kinds, strict=True))
    rows = [{**row, "rating": None if step % 17 == 3 else row["rating"]} for step, row in enumerate(EVENTS)]
    source = write(folder / "shop.inter", rows, "\t", header)
    years = "".join(f"{item}\t{1990 + item}\n" for item in range(16))
    (folder / "shop.item").write_text(f"item_id:token\tyear:float\n{years}")
    check_like_predict(RecBoleDataModule("shop", str(tmp_path), config=OF_RECBOLE[name]), source)


def test_values_in_other_ways_of_writing(tmp_path: Path) -> None:
    """Dates, decimal commas, a Parquet file of other types, a pretrained folder."""
    rows = [
        {
            **row,
            "timestamp": (FIRST_DAY + timedelta(days=row["timestamp"] - 1000)).isoformat(),
            "rating": f"{row['rating']:.1f}".replace(".", ","),
        }
        for row in EVENTS
    ]
    source = write(tmp_path / "events.csv", rows, ";")
    data = TableDataModule(
        str(source),
        value_column="rating",
        min_value=1.5,
        max_value=4,
        time_from="2024-06-02",
        consecutive_repeats=False,
        decimal=",",
    )
    expected = predicted(data)
    save_pretrained(load_pretrained("model.ckpt"), "model")
    frame = pl.read_csv(source, separator=";", decimal_comma=True, try_parse_dates=True)
    assert frame["rating"].dtype == pl.Float64
    frame.write_parquet("events.parquet")
    for table in (source, Path("events.parquet")):
        found = items(recommended(table, model="model"))
        assert {user: list_ for user, list_ in found.items() if user in expected} == expected


def test_texts_that_are_numbers(tmp_path: Path) -> None:
    model = saved(tmp_path, [{"kind": "texts", "column": "kind", "keep": ["1", "3"]}])
    kinds = [1, None, 2, 3]
    frame = pl.DataFrame({"user_id": ["u"] * 4, "item_id": [0, 1, 2, 3], "kind": kinds})
    frame.write_csv("x.csv")
    frame.write_parquet("x.parquet")
    frame.with_columns(pl.col("kind").cast(pl.Float64)).write_parquet("y.parquet")
    frame.filter(pl.col("kind").is_in([1, 3])).write_parquet("z.parquet")
    expected = items(recommended("z.parquet", model=model))
    for name in ("x.csv", "x.parquet", "y.parquet"):
        assert items(recommended(name, model=model)) == expected
    assert items(recommended("x.csv", "--all-events", model=model)) != expected


def saved(tmp_path: Path, filters: Any, **arguments: Any) -> str:
    """A pretrained folder of a model of the events that says this of the filters of its training."""
    source = write(tmp_path / "events.csv", EVENTS)
    data = TableDataModule(str(source), min_user_interactions=1, **arguments)
    model = model_of(data)
    model.metadata.take_from(data, knows_users=False)
    if filters is None:
        del model.metadata.reading["filters"]
    else:
        model.metadata.reading["filters"] = filters
    return str(save_pretrained(model, tmp_path / "model"))


def test_events_without_a_value_or_a_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {
            **row,
            "rating": None if step % 11 == 2 else row["rating"],
            "weight": None if step % 7 == 4 else 1.0,
        }
        for step, row in enumerate(EVENTS)
    ]
    source = write(tmp_path / "events.csv", rows)
    given = {"value_column": "rating", "min_value": 2, "weight_column": "weight", "drop_missing": True}
    check_like_predict(TableDataModule(str(source), min_user_interactions=2, **given), source)
    assert "events that lack a value are left out" in capsys.readouterr().err
    expected = items(recommended(source))
    frame = pl.read_csv(source)
    frame.filter(pl.col("weight").is_not_null()).drop("weight").write_csv("unweighted.csv")
    capsys.readouterr()
    assert items(recommended("unweighted.csv")) == expected
    assert "'weight'" not in capsys.readouterr().err
    model = saved(
        tmp_path, [{"kind": "range", "column": "rating", "keep": "[2,inf)", "refuses_missing": True}]
    )
    write(source, rows)
    said = error_of(capsys, "recommend", f"--model={model}", f"--histories={source}", "--n=3")
    assert "line 4: column 'rating' has no value: every event needs one" in said
    assert recommended(source, "--drop-missing", model=model)


def test_one_note_says_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "events.csv", EVENTS)
    given = {"time_from": 1001, "time_until": 1009, **OF_TABLES["between"]}
    predicted(TableDataModule(str(source), **given, duplicates="first", consecutive_repeats=False))
    capsys.readouterr()
    recommended(source)
    said = capsys.readouterr().err
    assert said.count("left out of histories, as in training") == 1
    assert (
        "left out of histories, as in training: events whose 'rating' is not in [2.0,4]; events whose "
        "'timestamp' is before 1001; all but the first event of a user with an item; events with the item of "
        "the user's event before (--all-events keeps all)\n"
    ) in said
    assert (
        "events later than those of training count, too: training left out events whose 'timestamp' is from "
        "1009 on\n"
    ) in said
    assert "does not read 'rating'" not in said
    recommended(source, "--time-column=")  # the window is that of training's column, whatever orders the rows
    assert "is before 1001;" in capsys.readouterr().err
    recommended(source, "--all-events")
    said = capsys.readouterr().err
    assert "left out" not in said.replace("it is left out", "").replace("they are left out", "")


def test_a_table_without_the_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "events.csv", EVENTS)
    predicted(TableDataModule(str(source), **OF_TABLES["low"], consecutive_repeats=False))
    pl.read_csv(source).rename({"rating": "Rating"}).write_csv("renamed.csv")
    pl.read_csv(source).filter(pl.col("rating") >= 3).drop("rating").write_csv("clean.csv")
    capsys.readouterr()
    renamed = items(recommended("renamed.csv"))
    said = capsys.readouterr().err
    assert (
        "the table has no column 'rating', by which training left out events whose 'rating' is not in "
        "[3,inf): they are not left out here; give the table that column, or leave such events out yourself; "
        "did you mean 'Rating'?"
    ) in said
    assert "as in training: events with the item of the user's event before (--all" in said
    expected = items(recommended(source))
    clean = items(recommended("clean.csv"))
    assert clean == {user: expected[user] for user in clean}
    assert renamed != expected


def test_times_of_another_kind_than_the_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "events.csv", EVENTS)
    predicted(TableDataModule(str(source), time_from=1002))
    pl.read_csv(source).with_columns(timestamp=pl.lit(FIRST_DAY)).write_parquet("dates.parquet")
    said = error_of(capsys, "recommend", "--model=model.ckpt", "--histories=dates.parquet", "--n=3")
    assert (
        "dates.parquet: column 'timestamp' holds dates, but training left out events whose 'timestamp' is "
        "before 1002: give times in the same way, or --all-events to keep all"
    ) in said
    assert recommended("dates.parquet", "--all-events")


def test_a_model_that_does_not_say_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved(tmp_path, None, **OF_TABLES["low"])
    older = items(recommended(tmp_path / "events.csv", model=model))
    said = "all events of the table count: the model does not say which events its training left out"
    assert said in capsys.readouterr().err
    assert older == items(recommended(tmp_path / "events.csv", "--all-events", model=model))
    assert said not in capsys.readouterr().err


def test_a_checkpoint_of_other_filters_is_damaged(tmp_path: Path) -> None:
    source = write(tmp_path / "events.csv", EVENTS)
    predicted(TableDataModule(str(source)))
    content = torch.load("model.ckpt", weights_only=True)
    for filters in ({"kind": "range"}, [{"kind": "range", "column": "rating", "keep": "4 on"}]):
        content["lightning_croloss"]["reading"]["filters"] = filters
        torch.save(content, "odd.ckpt")
        with pytest.raises(ValueError, match="the checkpoint is damaged"):
            RetrievalModel.load_from_checkpoint("odd.ckpt", weights_only=True)


def test_partitions_are_filtered_and_know_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(tmp_path, [{"kind": "consecutive_repeats"}])
    whole = items(recommended(tmp_path / "events.csv", model=model))
    Path("parts").mkdir()
    frame = pl.read_csv(tmp_path / "events.csv")
    for part in range(2):
        frame.filter(pl.col("user_id") % 2 == part).write_csv(f"parts/{part}.csv")
    capsys.readouterr()
    words = ["recommend", f"--model={model}", "--histories=parts", "--output=lists", f"--n={N}"]
    main(words)
    assert capsys.readouterr().err.count("left out of histories, as in training") == 1
    rows = pl.concat([pl.read_parquet(path) for path in sorted(Path("lists").iterdir())])
    grouped = rows.group_by("user", maintain_order=True).agg("item").rows()
    assert {str(user): [str(item) for item in list_] for user, list_ in grouped} == whole
    main(words)
    assert "2 were complete" in capsys.readouterr().err
    assert "--all-events = None, which is now True" in error_of(capsys, *words, "--all-events")
    again = load_pretrained(model)
    assert again.metadata.reading is not None
    again.metadata.reading["filters"] = []
    save_pretrained(again, model, overwrite=True)
    assert "was written with filters of the model's training = [" in error_of(capsys, *words)

"""``croloss tune --interactions``: from a table alone to a model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss.cli.tune.base import mistake_in
from lightning_croloss.cli.tune.table.features import feature_columns
from lightning_croloss.cli.tune.table.options import table_base
from lightning_croloss.cli.tune.table.report import commented, format_comparison
from lightning_croloss.data import TableDataModule
from lightning_croloss.errors import DataError
from lightning_croloss.models import RetrievalModel
from lightning_croloss.tuning.designs import Design, first_designs
from tests.cli.cases import error_of
from tests.cli.tune_tables import ITEMS, USERS, Here, tune, write_tables

pl = pytest.importorskip("polars", reason="needs the extra [tables]")
pytest.importorskip("scipy", reason="item kNN needs scipy")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Be in a folder with events of users who stay with a fifth of the items, and a table of the items."""
    monkeypatch.chdir(tmp_path)
    write_tables()
    workers = Here()
    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.make_workers", lambda *_: workers)
    return workers


def test_a_table_becomes_a_model(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    tune("--n", "5", "--output", "out", "--items=items.parquet", "--trainer.accelerator=cpu")
    text = Path("out/best_n5.yaml").read_text()
    config = yaml.safe_load(text)
    assert config["data"]["init_args"]["user_column"] == "customer"
    assert "items" not in config["data"]["init_args"]  # there was no time to try the features
    assert config["data"]["init_args"]["split"] == {"class_path": "LeaveOneOut"}
    assert config["trainer"]["accelerator"] == "cpu"
    assert config["trainer"]["callbacks"][0]["init_args"]["monitor"] == "val/recall@5"
    assert "    # the times only number the events" in text
    assert "# most popular" in text
    assert mistake_in(["--config", "out/best_n5.yaml"]) is None
    model = RetrievalModel.load_from_checkpoint("out/best_n5.ckpt")
    assert model.num_items == ITEMS
    said = capsys.readouterr().out
    assert "croloss recommend --model out/best_n5.ckpt --histories events.parquet --n 5" in said
    assert "croloss export --model out/best_n5.ckpt" in said
    assert "most popular" in said
    assert "item kNN" in said
    assert "95 % interval" in said
    tasks = [task["do"] for task in here.tasks]
    assert tasks == ["train_for", "test_users"]


def test_columns_that_can_be_features(here: Here) -> None:
    frame = pl.DataFrame({"user_id": range(USERS), "age": range(USERS), "same": [1] * USERS})
    frame.write_parquet("users.parquet")
    data = TableDataModule("events.parquet", user_column="customer", users_id_column="user_id")
    given = {"items": "items.parquet", "users": "users.parquet"}
    assert feature_columns(data, given) == (("kind",), ("age",))  # a name tells every item apart
    assert feature_columns(data, {"items": "items.parquet"}) == (("kind",), ())
    assert feature_columns(data, given | {"item_features": ["name"]}) == (("name",), ("age",))
    with pytest.raises(ValueError, match="--item_features needs --items"):
        feature_columns(data, {"item_features": ["kind"]})


def test_columns_that_are_no_features_are_told(here: Here) -> None:
    data = TableDataModule("events.parquet", user_column="customer")
    more = {f"price {number}": pl.int_range(ITEMS) % 5 for number in range(12)}
    vectors = [[0.5, item / 7] for item in range(ITEMS)]
    pl.read_parquet("items.parquet").with_columns(**more, same=1, vector=pl.Series(vectors)).write_parquet(
        "wide.parquet"
    )
    told: list[str] = []
    found = feature_columns(data, {"items": "wide.parquet"}, told.append)[0]
    assert found == ("kind", *[f"price {number}" for number in range(11)])
    assert told[0].startswith("  name: no feature of the items: 60 different values for 60 rows are names")
    assert told[1] == "  price 11: no feature of the items: there are 12 before it"
    assert told[2].startswith("  same: no feature of the items: wide.parquet: ")
    assert "holds vectors of numbers" in told[3]
    assert told[4].startswith("features of the items that are tried: kind, price 0, price 1, ")
    assert len(told) == 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "item_id,kind\n3,a\n4,b\n3,a\n",
            "items.csv, line 4: item_id '3' stands again, after",
        ),
        ("item_id,kind\nx,a\ny,b\n", "items.csv, line 2: column 'item_id' holds 'x'; none of its ids has"),
        ("item_id,kind\n3,a\n4,b,c\n", "items.csv cannot be read: found more fields than defined"),
        ("item_id,kind\n3,a\n,b\n", "items.csv, line 3: column 'item_id' has no value"),
    ],
    ids=["repeated", "others", "ragged", "missing"],
)
def test_a_fault_of_a_whole_table_is_no_missing_feature(here: Here, text: str, sentence: str) -> None:
    Path("items.csv").write_text(text)
    data = TableDataModule("events.parquet", user_column="customer")
    with pytest.raises(DataError) as caught:
        feature_columns(data, {"items": "items.csv"})
    assert str(caught.value).startswith(sentence)


def test_a_design_with_features_is_trained(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_with_features(*given: Any) -> list[Design]:
        return [design for design in first_designs(*given) if design.features]

    monkeypatch.setattr("lightning_croloss.cli.tune.table.command.first_designs", only_with_features)
    tune("--n", "5", "--output", "out", "--items=items.parquet")
    arguments = yaml.safe_load(Path("out/best_n5.yaml").read_text())["data"]["init_args"]
    assert arguments["item_features"] == ["kind"]
    assert arguments["items"] == "items.parquet"


def test_several_turns_within_the_time(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    tune("--n", "5", "--output", "out", minutes=0.1)
    assert time.monotonic() - began < 60  # a slow machine needs more than the six seconds for one turn alone
    state = json.loads(Path("out/state.json").read_text())
    for track in state["tracks"]:
        assert track["error"] is None
        assert len(track["values"]) == len(track["progress"]["validations"])
    again = len(here.tasks)
    tune("--n", "5", "--output", "out", minutes=0.1)  # the time is over: only the test is made again
    assert [task["do"] for task in here.tasks[again:]] == ["test_users"]
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("croloss: done; the search was over before")
    assert printed.err.count("done in") == 1
    told = printed.out
    compared = [line for line in told.splitlines() if line.startswith(("most popular", "item kNN"))]
    assert compared[:2] == compared[2:]  # they are measured once


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--n=5", "--interactions=none.parquet"], "there is no file 'none.parquet'"),
        (["--n=5", "--item_column=article"], "'article'"),
        (["--n=60"], "--n 60: the table has only 60 items"),
        (["--n=5", "--config=some.yaml"], "give one of --config and --interactions, got both"),
        (["--n=5", "--usercolumn=x"], "unrecognized arguments: --usercolumn"),
        (["--n=5", "--trials=9"], "--trials needs --config: with --interactions the time says how many"),
        (["--n=5", "--sampler=tpe"], "--sampler needs --config: it draws settings from a space"),
        (["--n=5", "--seeds=many"], "--seeds"),
        (["--n=5", "--fits=2"], "--fits needs --config"),
        (["--n", "5", "10"], "--interactions looks for one N"),
        (["--n=5", "--trainer.max_epochs=2"], "trainer.max_epochs is chosen with --interactions"),
        (["--n=5", "--items=items.parquet", "--items_id_column=sku"], "items.parquet has no column 'sku'"),
        (["--n=5", "--min_user_interactions=99"], "99"),
    ],
)
def test_mistakes(here: Here, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    own = [word for word in words if word.startswith("--interactions")] or ["--interactions=events.parquet"]
    others = [word for word in words if not word.startswith("--interactions")]
    said = error_of(capsys, "tune", *own, "--user_column=customer", *others)
    assert sentence in said
    assert not here.tasks
    assert not Path("runs").exists()  # a search that never began is in nobody's way


def test_neither_config_nor_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert "croloss tune needs --config FILE, or --interactions FILE" in error_of(capsys, "tune", "--n=5")


def test_too_few_users(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    few = pl.read_parquet("events.parquet").filter(pl.col("customer") < 12)
    few.write_parquet("few.parquet")
    said = error_of(capsys, "tune", "--interactions=few.parquet", "--user_column=customer", "--n=5")
    assert "too few users to measure by: 12 of 12" in said


def test_what_leaves_nothing_to_learn_from(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    events = pl.read_parquet("events.parquet")
    events.with_columns(item_id=pl.lit(1)).write_parquet("item.parquet")
    said = error_of(capsys, "tune", "--interactions=item.parquet", "--user_column=customer", "--n=5")
    assert said.startswith("the table has one item, so that there is nothing to choose from")
    events.with_columns(customer=pl.int_range(pl.len())).write_parquet("users.parquet")
    said = error_of(capsys, "tune", "--interactions=users.parquet", "--user_column=customer", "--n=5")
    assert said.startswith("none of the 1,200 users has two events")
    events.drop("timestamp").write_parquet("untimed.parquet")
    said = error_of(capsys, "tune", "--interactions=untimed.parquet", "--user_column=customer", "--n=5")
    assert said.startswith("time_column names 'timestamp', which is not a column of untimed.parquet")
    assert "give null if it has no times" in said
    assert not here.tasks


def test_comments_stand_above_their_fields() -> None:
    config = {
        "data": {"init_args": {"split": {"class_path": "X", "init_args": {"a": 1}}, "ns": [1, 2]}},
        "seed": 3,
    }
    text = commented(config, {"data.init_args.split": "as users\nare few", "seed": "any"})
    assert yaml.safe_load(text) == config
    lines = text.splitlines()
    assert lines[lines.index("    split:") - 1] == "    # as users are few"
    assert lines[lines.index("seed: 3") - 1] == "# any"


def test_the_comparison_has_intervals_and_says_what_is_left_out() -> None:
    from lightning_croloss.baselines.per_user import Measured

    users = torch.tensor([1.0, 0.0, 1.0, 1.0])
    baselines = [Measured("most popular", {}, torch.zeros(4)), Measured("item kNN", {}, None, "no time")]
    model, popular, knn = format_comparison("SASRec", users, baselines, "recall@5").splitlines()[1:]
    assert model.split()[:2] == ["SASRec", "0.7500"]
    assert "+0.7500 (" in popular
    assert knn.endswith("left out: no time")


def test_options_of_the_table_are_those_of_its_data_module(here: Here) -> None:
    words = ["--user_column=u", "--items", "i.csv", "--split", "LeaveOneOut", "--min-user-interactions", "3"]
    words += ["--trainer.accelerator=cpu", "--data.max_history=9", "--seed_everything=7"]
    base = table_base("x.csv", words)
    assert base.seed == 7
    assert base.config["trainer"]["accelerator"] == "cpu"
    arguments = base.config["data"]["init_args"]
    assert arguments.pop("split")["class_path"].endswith("LeaveOneOut")
    assert arguments == {
        "interactions": "x.csv",
        "user_column": "u",
        "items": "i.csv",
        "min_user_interactions": 3,
        "max_history": 9,
    }

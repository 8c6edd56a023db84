"""Which files a search that goes on must find as they were: those that its data are read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_croloss.cli import main
from lightning_croloss.cli.tune.folder import open_records
from lightning_croloss.cli.tune.sources import sources_of
from lightning_croloss.cli.tune.table.options import table_base
from lightning_croloss.cli.tune.table.runs import TableRuns
from lightning_croloss.errors import DataError, PretrainedError
from lightning_croloss.tuning.objective import Objective
from tests.cli.cases import error_of
from tests.cli.tuning import NoMirrors, Pretended, pretended, write
from tests.data_for_tests import ClusteredData

__all__ = ["pretended"]
pytest.importorskip("polars", reason="needs the extra [tables]")
pytestmark = pytest.mark.filterwarnings("ignore")

EVENTS, ITEMS = "user_id,item_id\n1,a\n2,b\n", "item_id,kind\na,x\nb,y\n"
FILES = {
    "logs/a.csv": EVENTS,
    "logs/deep/b.csv": EVENTS,
    "logs/notes.txt": "of no table",
    "parts/train.csv": EVENTS,
    "parts/valid.csv": EVENTS,
    "parts/test.csv": EVENTS,
    "things/items.csv": ITEMS,
    "people/users.csv": ITEMS.replace("item", "user"),
    "sets/toy/toy.inter": "user_id:token\titem_id:token\nu\ta\n",
    "sets/toy/toy.item": "item_id:token\tkind:token\na\tx\n",
    "sets/toy/toy.user": "user_id:token\tage:float\nu\t3\n",
    "sets/toy/toy.txt": "of no table",
    "settings.yaml": "data_path: sets\n",
    "model/manifest.json": "{}",
    "model/README.md": "may be corrected by hand",
    "zoo/shop/mind/manifest.json": "{}",
    "run/best.ckpt": "weights",
    "shards/last.ckpt/checkpoint.ckpt": "the rest",
    "shards/last.ckpt/rows/0.distcp": "rows",
}
#: What errors call files of models.
NAMED = {"model/manifest.json": "model", "zoo/shop/mind/manifest.json": "shop/mind"}
TABLES = [*(name for name in FILES if name.startswith(("things", "people")))]
TOY = ["sets/toy/toy.inter", "sets/toy/toy.item", "sets/toy/toy.user"]


def table(interactions: Any, **arguments: Any) -> dict[str, Any]:
    arguments = {"interactions": interactions, "time_column": None, **arguments}
    return {"data": {"class_path": "TableDataModule", "init_args": arguments}}


def recbole(**arguments: Any) -> dict[str, Any]:
    return {"data": {"class_path": "RecBoleDataModule", "init_args": {"dataset": "toy", **arguments}}}


class OwnData(ClusteredData):
    """Reads what it likes, and tells nobody of it."""

    def __init__(self, table: str) -> None:
        super().__init__()
        self.table = table


class TellingData(OwnData):
    """Tells where it reads."""

    def source_files(self) -> list[Path]:
        return sorted(Path(self.table).rglob("*.csv"))


def own(cls: type[OwnData], name: str) -> dict[str, Any]:
    return {"data": {"class_path": f"{__name__}.{cls.__name__}", "init_args": {"table": name}}}


FORMS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "file": (table("logs/a.csv"), ["logs/a.csv"]),
    "folder": (table("logs"), ["logs/a.csv", "logs/deep/b.csv"]),
    "glob": (table("logs/*.csv"), ["logs/a.csv"]),
    "list": (table(["logs/a.csv", "logs/de*/*.csv"]), ["logs/a.csv", "logs/deep/b.csv"]),
    "parts": (
        table("parts", split={"class_path": "Predefined"}),
        ["parts/train.csv", "parts/valid.csv", "parts/test.csv"],
    ),
    "tables": (
        table("logs/a.csv", items="things", users="people/*", item_features=["kind"], user_features=["kind"]),
        ["logs/a.csv", *TABLES],
    ),
    "columns to be chosen": (
        table("logs/a.csv", items="things/*.csv", users="people"),
        ["logs/a.csv", *TABLES],
    ),
    "RecBole": (recbole(data_path="sets"), TOY),
    "RecBole's config": (recbole(config={"data_path": "sets"}), TOY),
    "RecBole's settings": (recbole(config_files=["settings.yaml"]), [*TOY, "settings.yaml"]),
    "own": (own(OwnData, "logs/a.csv"), ["logs/a.csv"]),
    "own that tells": (own(TellingData, "logs"), ["logs/a.csv", "logs/deep/b.csv"]),
    "model": ({"pretrained": "model"}, ["model/manifest.json"]),
    "model of the zoo": ({"pretrained": "shop/mind"}, ["zoo/shop/mind/manifest.json"]),
    "checkpoint": ({"pretrained": "run/best.ckpt"}, ["run/best.ckpt"]),
    "shards": (
        {"pretrained": "shards/last.ckpt"},
        [name for name in FILES if name.startswith("shards")],
    ),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning_croloss.pretrained.registry.zoo_folders", lambda: [Path("zoo")])
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def let_it_train() -> None:
    done = Path("out/candidates/00/step_1.json")
    done.parent.mkdir(parents=True, exist_ok=True)
    done.touch()


def open_search(config: dict[str, Any], overwrite: bool = False) -> None:
    """Begin a search, or go on with it, and let it have trained something."""
    open_records(Path("out"), {"config": config}, overwrite)
    let_it_train()


@pytest.mark.parametrize("form", FORMS)
def test_what_the_data_are_read_from_must_be_as_it_was(form: str) -> None:
    config, counted = FORMS[form]
    open_search(config)
    for name in FILES.keys() - {*counted, "settings.yaml"}:
        Path(name).write_text("something else")
    open_search(config)
    for name in counted:
        with Path(name).open("a") as file:
            file.write("# more\n")
        with pytest.raises(
            ValueError, match=rf"began with other data, as .*{NAMED.get(name, name)} has changed"
        ):
            open_search(config)
        Path(name).unlink()
        with pytest.raises((ValueError, DataError, PretrainedError)):
            open_search(config)
        Path(name).write_text(FILES[name])
    open_search(config)


@pytest.mark.parametrize("form", ["folder", "glob", "own that tells"])
def test_a_file_that_goes_or_comes_is_noticed(form: str) -> None:
    config, _ = FORMS[form]
    Path("logs/0.csv").write_text(EVENTS)
    open_search(config)
    Path("logs/0.csv").unlink()
    with pytest.raises(ValueError, match=r"out holds a search .* as logs/0\.csv is gone since"):
        open_search(config)
    Path("logs/0.csv").write_text(EVENTS)
    Path("logs/c.csv").write_text(EVENTS)
    with pytest.raises(ValueError, match=r"out holds a search .* as logs/c\.csv has come since"):
        open_search(config)


def test_data_that_are_not_there_replace_no_search() -> None:
    open_search(table("logs"))
    with pytest.raises(DataError, match="interactions: there is no file 'log'; did you mean"):
        open_search(table("log"), overwrite=True)
    assert Path("out/candidates/00/step_1.json").exists()


def test_partitions_count_by_their_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "partition", "--interactions", "logs", "--partitions=2"]
    config = table("divided", partitioned_by_user=True)
    main([*words, "--output=divided"])
    assert list(sources_of(config)) == ["divided/_manifest.json"]
    open_search(config)
    Path("logs/a.csv").write_text(EVENTS + "3,a\n")
    main([*words, "--output=divided", "--overwrite"])
    with pytest.raises(ValueError, match=r"divided/_manifest\.json has changed since"):
        open_search(config)


def test_a_search_of_which_nothing_is_noted_goes_on() -> None:
    config = own(OwnData, "later.csv")
    open_search(config)
    Path("later.csv").touch()
    open_search(config)


def test_the_command_from_a_config_tells_it(
    pretended: Pretended, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning_croloss.cli.tune.progress.Mirrors", NoMirrors)
    monkeypatch.setattr("lightning_croloss.cli.tune.results.plot_curves", lambda *_, **__: None)
    words = ["tune", *write(**FORMS["folder"][0]), "--n", "10", "--output", "out"]
    main(words)
    Path("logs/a.csv").write_text(EVENTS + "3,a\n")
    said = error_of(capsys, *words)
    assert said.startswith(
        "--output: out holds a search that began with other data, as logs/a.csv has changed"
    )


def test_the_command_from_a_table_tells_it() -> None:
    config = table_base("logs", ["--items=things", "--time_column=null"]).config

    def go_on() -> None:
        TableRuns(Path("out"), config, Objective("recall", {10: 1.0}), 1.0)

    go_on()
    let_it_train()
    go_on()
    Path("things/items.csv").write_text(ITEMS + "c,x\n")
    with pytest.raises(ValueError, match=r"--output: out holds .* as things/items\.csv has changed"):
        go_on()

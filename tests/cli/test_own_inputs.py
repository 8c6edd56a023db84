"""No command replaces what it reads: its data, its weights, its config."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Callback

from lightning_croloss import TableDataModule, save_pretrained
from lightning_croloss.callbacks import PredictionWriter, UserMetricsWriter
from lightning_croloss.cli import main
from lightning_croloss.cli.own_inputs import refuse_inputs_of_run
from lightning_croloss.tuning.records import SEARCH
from tests.cli.cases import error_of
from tests.cli.test_tune_sources import FILES, FORMS, table
from tests.cli.tuning import write
from tests.data_for_tests import fit, quiet_trainer, small_model

pytest.importorskip("polars", reason="needs the extra [tables]")
pytestmark = pytest.mark.filterwarnings("ignore")

LOST = "which would be lost: choose another output"
EVENTS = "user_id,item_id\n" + "".join(
    f"{user},{(user * 7 + at) % 40}\n" for user in range(20) for at in range(5)
)
CONFIG: dict[str, Any] = {
    **table("t.csv", min_user_interactions=1),
    "model": {"class_path": "YouTubeDNN", "init_args": {"ns": [5], "embedding_dim": 8}},
    "trainer": {"accelerator": "cpu", "logger": False, "enable_progress_bar": False},
}


def spellings(path: str) -> Iterator[str]:
    """Yield the ways in which a command may be told of a file."""
    yield path
    yield str(Path(path).absolute())
    folder = Path(path).parent
    yield f"{folder}/../{folder.absolute().name}/{Path(path).name}"
    for way, make in (("link", os.symlink), ("hard", os.link)):
        make(Path(path).absolute(), way)
        yield way
        Path(way).unlink()


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning_croloss.pretrained.registry.zoo_folders", lambda: [Path("zoo")])
    for name, text in {**FILES, "t.csv": EVENTS, "c.yaml": yaml.safe_dump(CONFIG)}.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("model")])
def test_whatever_a_run_reads_is_refused_as_its_output(form: str) -> None:
    config, read = FORMS[form]
    for name in FILES:
        for output in spellings(name):
            if name not in read:
                refuse_inputs_of_run([Path(output)], config, "--output")
                continue
            with pytest.raises(ValueError, match=rf"^--output {Path(output)} is a file of .*, {LOST}"):
                refuse_inputs_of_run([Path(output)], config, "--output")
    refuse_inputs_of_run([Path("none.csv"), Path("logs/none/none.csv"), Path("logs")], config, "--output")


@pytest.mark.parametrize("field", ["pretrained", "ckpt_path"])
def test_the_files_of_a_model_are_not_replaced(field: str) -> None:
    model = small_model()
    fit(model, limit_train_batches=1)
    save_pretrained(model, "zoo/own/mine")
    held = {path.name for path in Path("zoo/own/mine").iterdir()}
    assert {"vocabulary.parquet", "manifest.json"} <= held
    Path("zoo/own/mine/lists.csv").write_text("mine")
    for name in ("own/mine", "zoo/own/mine"):
        for each in held:
            with pytest.raises(ValueError, match=rf"{each} is a file of --{field}, {LOST}"):
                refuse_inputs_of_run([Path("zoo/own/mine") / each], {field: name}, "--output")
        refuse_inputs_of_run([Path("zoo/own/mine/lists.csv")], {field: name}, "--output")


def test_the_parts_of_a_table_divided_by_user_are_not_replaced() -> None:
    main(["data", "partition", "--interactions=t.csv", "--output=parts_of_t", "--partitions=2"])
    config = table("parts_of_t", partitioned_by_user=True, user_column="user_id")
    parts = [path for path in Path("parts_of_t").iterdir() if path.is_file()]
    assert len(parts) == 5
    for part in parts:
        with pytest.raises(ValueError, match=rf"{part} is a file of the data, {LOST}"):
            refuse_inputs_of_run([part], config, "--output")


@pytest.mark.parametrize("command", ["predict", "test", "validate", "fit"])
def test_the_commands_of_the_trainer(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [command, "--config=c.csv", "--overwrite"]
    inputs = {"t.csv": "the data", "c.csv": "--config"}
    Path("c.yaml").rename("c.csv")
    if command != "fit":
        model = small_model(ns=(5,))
        fit(model, limit_train_batches=1).save_checkpoint("k.csv")
        words.append("--ckpt_path=k.csv")
        inputs["k.csv"] = "--ckpt_path"
    option = "--output" if command == "predict" else "--metrics_per_user"
    before = {path: Path(path).read_bytes() for path in inputs}
    for path, named in inputs.items():
        said = error_of(capsys, *words, f"{option}={path}")
        assert said.startswith(f"{option} {path} is a file of {named}, {LOST}")
    assert {path: Path(path).read_bytes() for path in inputs} == before


@pytest.mark.parametrize("callback", [PredictionWriter, UserMetricsWriter])
def test_the_writers_of_a_trainer_in_python(callback: type[Any]) -> None:
    writer: Callback = callback("link.csv", overwrite=True)
    os.link("t.csv", "link.csv")
    data = TableDataModule("t.csv", min_user_interactions=1, time_column=None)
    trainer = quiet_trainer(callbacks=[writer])
    run = trainer.predict if callback is PredictionWriter else trainer.test
    with pytest.raises(ValueError, match=rf"^output link.csv is a file of the data, {LOST}"):
        run(small_model(), data)
    assert Path("t.csv").read_text() == EVENTS
    assert {path.name for path in Path().glob(".*")} == set()


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("option", ["config", "pretrained", "interactions"])
def test_a_search_replaces_nothing_that_it_reads(
    option: str, overwrite: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    words = ["tune", "--n=5", "--output=out", *overwrite]
    if option == "interactions":
        given, named = "out/designs.csv", "the data"
        Path(given).write_text(EVENTS)
        words += [f"--interactions={given}", "--time_column="]
    elif option == "config":
        given, named = "out/best_n5.yaml", "--config"
        words += write(given)
    else:
        given, named = "out/best_n5.ckpt", "--pretrained"
        fit(small_model(), limit_train_batches=1).save_checkpoint(given)
        words += [*write(), f"--pretrained={given}"]
    Path("out", SEARCH).write_text("{}")
    before = Path(given).read_bytes()
    assert error_of(capsys, *words).startswith(f"--output {given} is a file of {named}, {LOST}")
    assert Path(given).read_bytes() == before


def test_lists_replace_neither_the_model_nor_an_input_beside_the_partitions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = small_model()
    fit(model, limit_train_batches=1)
    save_pretrained(model, "mine")
    words = ["recommend", "--model=mine", "--n=3", "--overwrite"]
    said = error_of(capsys, *words, "--histories=t.csv", "--output=mine/vocabulary.parquet")
    assert said.startswith(f"--output mine/vocabulary.parquet is a file of --model, {LOST}")
    Path("in").mkdir()
    Path("in/items.csv").write_text(EVENTS)
    Path("lists").mkdir()
    Path("lists/items.csv.parquet").write_text("items that are never recommended")
    said = error_of(capsys, *words, "--histories=in", "--output=lists", "--deny=lists/items.csv.parquet")
    assert said.startswith(f"--output lists/items.csv.parquet is a file of --deny, {LOST}")

"""Every option of every command is used or refused: a table that names the test of each, and those tests."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger

from lightning_croloss import load_pretrained, save_pretrained
from lightning_croloss.cli import export as export_command
from lightning_croloss.cli import gather as gather_command
from lightning_croloss.cli import main, zoo_factory, zoo_folder
from lightning_croloss.cli import zoo as zoo_command
from lightning_croloss.cli.data import inspect as data_command
from lightning_croloss.cli.data.partition_options import partition_parser
from lightning_croloss.cli.lightning_cli import CROLossCLI
from lightning_croloss.cli.recommend.options import recommend_parser
from lightning_croloss.cli.tune.options import tune_parser
from lightning_croloss.zoo import evaluating, recipes
from lightning_croloss.zoo.recipes import Recipe
from lightning_croloss.zoo.sources import AbsentDataError
from tests.cli import (
    test_data_partition,
    test_gather,
    test_recommend_filters,
    test_recommend_partitions,
    test_recommend_processes,
    test_recommend_reading,
    test_recommend_users,
    test_seeds,
    test_tune,
    test_tune_table,
    test_weights,
)
from tests.cli.cases import error_of
from tests.cli.small import DATA, FIT, NO_PLOT, SMALL, fit, measured, newest

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

EVALUATING = ["validate", "test", "predict"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, a pretrained folder, and histories."""
    folder = tmp_path_factory.mktemp("run")
    before = Path.cwd()
    os.chdir(folder)
    try:
        fit().rename("model.ckpt")
        save_pretrained(load_pretrained("model.ckpt"), "model")
        Path("lines.jsonl").write_text('{"user": "a", "history": ["item 1", "item 2"]}\n')
    finally:
        os.chdir(before)
    return folder


# ---------------------------------------------------------------------- the trainer's own

#: A value of each of the trainer's options that is not its default.
TRAINER: dict[str, Any] = {
    "accelerator": "cpu",
    "strategy": "ddp",
    "devices": "2",
    "num_nodes": 2,
    "precision": "bf16-mixed",
    "logger": "CSVLogger",
    "callbacks": "EarlyStopping",
    "fast_dev_run": 3,
    "max_epochs": 7,
    "min_epochs": 2,
    "max_steps": 70,
    "min_steps": 3,
    "max_time": "00:01:00:00",
    "limit_train_batches": 4,
    "limit_val_batches": 5,
    "limit_test_batches": 6,
    "limit_predict_batches": 8,
    "overfit_batches": 2,
    "val_check_interval": 9,
    "check_val_every_n_epoch": 2,
    "num_sanity_val_steps": 1,
    "log_every_n_steps": 11,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 0.5,
    "gradient_clip_algorithm": "value",
    "deterministic": True,
    "benchmark": True,
    "inference_mode": False,
    "use_distributed_sampler": False,
    "profiler": "simple",
    "detect_anomaly": True,
    "barebones": True,
    "plugins": "CheckpointIO",
    "sync_batchnorm": True,
    "reload_dataloaders_every_n_epochs": 2,
    "default_root_dir": "elsewhere",
    "enable_autolog_hparams": False,
    "model_registry": "mine",
}


class Reached(Exception):
    """The trainer would be built now."""


@pytest.mark.parametrize("command", ["fit", *EVALUATING])
def test_the_trainer_gets_its_options(command: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def build(cli: CROLossCLI, config: Any, callbacks: Any) -> Trainer:
        seen.update(config)
        raise Reached

    monkeypatch.setattr(CROLossCLI, "_instantiate_trainer", build)
    special = {"callbacks", "plugins", "logger"}
    given = [
        f"--trainer.{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in TRAINER.items()
        if name not in special
    ]
    given += ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/ndcg@5"]
    given += ["--trainer.plugins=lightning.pytorch.plugins.TorchCheckpointIO"]
    if command != "predict":
        given += ["--trainer.logger.init_args.save_dir=elsewhere"]  # of the default logger
    weights = [] if command == "fit" else [f"--ckpt_path={run / 'model.ckpt'}"]
    with pytest.raises(Reached):
        main([command, DATA, "--model=YouTubeDNN", "--model.ns=[5]", *weights, *given])
    for name in TRAINER.keys() - special:
        assert seen[name] == TRAINER[name], name
    names = [type(callback).__name__ for callback in seen["callbacks"]]
    assert names == ["EarlyStopping", "RecallReport"]
    assert type(seen["plugins"]).__name__ == "TorchCheckpointIO"
    if command == "predict":
        assert seen["logger"] is False
    else:
        assert isinstance(seen["logger"], CSVLogger)
        assert seen["logger"].save_dir == "elsewhere"


def test_predict_refuses_a_logger_and_what_belongs_to_fit(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = f"--ckpt_path={run / 'model.ckpt'}"
    said = error_of(
        capsys, "predict", *SMALL, weights, "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=x"
    )
    assert said.startswith("trainer.logger: predict logs nothing")
    for command in EVALUATING:
        said = error_of(capsys, command, *SMALL, weights, "--test_after_fit=true")
        assert said.startswith(f"test_after_fit has no effect on {command}")
    assert "return_predictions" in error_of(capsys, "predict", *SMALL, weights, "--return_predictions=true")
    Path("kept.yaml").write_text(
        "test_after_fit: true\ntrainer: {logger: {class_path: CSVLogger, init_args: {save_dir: x}}}"
    )
    # a config serves all commands
    assert measured("test", "--config=kept.yaml", *SMALL, weights)


# ---------------------------------------------------------------------- fit, validate, test, predict


def test_a_seed_and_a_config_and_no_test(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"embedding_dim": 4}}}))
    base = [
        "fit",
        *SMALL,
        "--model.ns=[5]",
        "--config=mine.yaml",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=1",
    ]
    weights = []
    for arguments in (["--seed_everything=1"], ["--seed_everything=1"], ["--seed_everything=2"]):
        main([*base, *arguments, "--test_after_fit=false"])
        weights.append(
            torch.load(newest("**/*.ckpt"), weights_only=True)["state_dict"]["item_embedding.weight"]
        )
    assert weights[0].shape == (41, 4)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert "test metrics" not in capsys.readouterr().out
    main([*base, "--test_after_fit=true"])
    assert "test metrics" in capsys.readouterr().out


def test_the_metrics_of_each_user(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, name, weights in (
        ("fit", "fit.csv", []),
        ("test", "test.csv", [f"--ckpt_path={run / 'model.ckpt'}"]),
        ("validate", "valid.csv", [f"--ckpt_path={run / 'model.ckpt'}"]),
    ):
        found = measured(command, *(SMALL if weights else FIT), *weights, f"--metrics_per_user={name}")
        with Path(name).open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 60
        for metric, by_n in found.items():
            for n, value in by_n.items():
                assert sum(float(row[f"{metric}@{n}"]) for row in rows) / 60 == pytest.approx(value, abs=1e-6)
        said = error_of(capsys, command, *(SMALL if weights else FIT), *weights, f"--metrics_per_user={name}")
        assert said.startswith(f"--metrics_per_user {name} exists: choose another file, or give --overwrite")
        before = Path(name).read_bytes()
        Path(name).write_text("old")
        again = [command, *(SMALL if weights else FIT), *weights, f"--metrics_per_user={name}"]
        main([*again, "--overwrite"])
        assert Path(name).read_bytes() == before
        said = error_of(capsys, *again[:-1], "--overwrite")
        assert said.startswith("overwrite has no effect without metrics_per_user")
    # the config that a run keeps does not write to a file again
    kept = yaml.safe_load(newest("**/config*.yaml").read_text())
    assert kept["metrics_per_user"] is None
    assert "overwrite" not in kept
    said = error_of(capsys, "fit", *FIT, "--metrics_per_user=a.csv", "--test_after_fit=false")
    assert said.startswith("metrics_per_user is of the test that ends a fit")
    said = error_of(
        capsys, "predict", *SMALL, f"--ckpt_path={run / 'model.ckpt'}", "--metrics_per_user=a.csv"
    )
    assert said.startswith("metrics_per_user has no effect on predict")


@pytest.mark.parametrize("command", ["fit", "test", "data inspect"])
def test_the_config_is_printed(command: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [DATA, "--data.max_history=9"]
    if command != "data inspect":
        given += ["--model=YouTubeDNN"]
    with pytest.raises(SystemExit):
        main([*command.split(), *given, "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["init_args"]["max_history"] == 9


@pytest.mark.parametrize("command", ["validate", "test"])
def test_lightning_prints_its_table_on_request(
    command: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [command, *SMALL, f"--ckpt_path={run / 'model.ckpt'}"]
    main(base)
    assert "/recall@5" not in capsys.readouterr().out
    main([*base, "--verbose=true"])
    assert "/recall@5" in capsys.readouterr().out


class Opened:
    """What only a pickle can hold."""


def test_a_checkpoint_that_holds_more_than_plain_types(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = torch.load(run / "model.ckpt", weights_only=True)
    torch.save(content | {"more": Opened()}, "pickled.ckpt")
    base = [*SMALL, "--ckpt_path=pickled.ckpt"]
    for command in ("fit", *EVALUATING):
        assert "is not a checkpoint of plain types" in error_of(capsys, command, *base)
    for command in ("validate", "test"):
        assert measured(command, *base, "--weights_only=false")


def test_predict_writes_what_it_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra [tables]")
    base = ["predict", *SMALL, f"--ckpt_path={run / 'model.ckpt'}", "--output=mine.parquet", "--n=3"]
    main([*base, "--exclude_history=true"])
    without = parquet.read_table("mine.parquet")
    assert set(without["rank"].to_pylist()) == {1, 2, 3}
    for leave in (["--overwrite=true"], ["--overwrite", "true"], ["--overwrite"]):
        main([*base, "--exclude_history=false", *leave])
        assert parquet.read_table("mine.parquet") != without
    for refused in ([], ["--overwrite=false"], ["--overwrite", "false", "--seed_everything=1"]):
        said = error_of(capsys, *base, *refused)
        assert said.startswith("--output mine.parquet exists: choose another file, or give --overwrite")


def strange_checkpoint(run: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a checkpoint of a class that nobody has imported yet; return the path of that class."""
    Path(f"{name}.py").write_text(
        "from lightning_croloss import YouTubeDNN\n\n\nclass StrangeModel(YouTubeDNN):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    content = torch.load(run / "model.ckpt", weights_only=True)
    content["hyper_parameters"]["_class_path"] = f"{name}.StrangeModel"
    torch.save(content, "strange.ckpt")
    return f"{name}.StrangeModel"


@pytest.mark.parametrize("command", ["fit", "validate", "predict", "recommend", "export"])
def test_a_strange_class_is_allowed_on_request(
    command: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = strange_checkpoint(run, f"strange_{command}", monkeypatch)
    given = {
        "fit": [*FIT, "--pretrained=strange.ckpt"],
        "validate": [*SMALL, "--pretrained=strange.ckpt"],
        "predict": [*SMALL, "--ckpt_path=strange.ckpt"],
        "recommend": ["--model=strange.ckpt", f"--histories={run / 'lines.jsonl'}", "--n=3"],
        "export": ["--model=strange.ckpt", "--output=out"],
    }[command]
    said = error_of(capsys, command, *given)
    assert f"--allow_classes={name} " in said
    assert name.partition(".")[0] not in sys.modules
    assert "--allow_classes: 'x.Y' is not a class" in error_of(capsys, command, *given, "--allow_classes=x.Y")
    allowed = [*given, f"--allow_classes={name}"]
    if command == "fit":
        assert "the pretrained model is a StrangeModel" in error_of(capsys, command, *allowed)
    elif command in EVALUATING:
        assert "holds a StrangeModel: give --model=StrangeModel" in error_of(capsys, command, *allowed)
    elif command == "recommend":
        main([command, *allowed])
        assert len(json.loads(capsys.readouterr().out)["items"]) == 3
    else:
        monkeypatch.setattr(
            "lightning_croloss.serving.export.export_model", lambda model, folder, **_: folder
        )
        Path("out").mkdir()
        main([command, *allowed, "--overwrite"])


# ---------------------------------------------------------------------- data inspect, recommend, export


def test_data_inspect(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("data: {init_args: {num_users: 13}}")
    main(["data", "inspect", DATA, "--config=mine.yaml", "--json"])
    assert json.loads(capsys.readouterr().out)["interactions"]["users"] == 13
    for argument in ("--model=YouTubeDNN", "--trainer.max_epochs=1"):
        said = error_of(capsys, "data", "inspect", DATA, argument)
        assert said.startswith("croloss data inspect looks at the data alone")


def recommended(*arguments: str) -> list[dict[str, Any]]:
    """Run ``croloss recommend`` and return its lines."""
    main(["recommend", *arguments, "--output=out.jsonl", "--overwrite"])
    return [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]


def test_recommend(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pl = pytest.importorskip("polars", reason="needs the extra [tables]")
    model = f"--model={run / 'model'}"
    lines = f"--histories={run / 'lines.jsonl'}"
    plain = recommended(model, lines, "--n=3", "--exclude-history")
    assert [len(line["items"]) for line in plain] == [3]
    assert not set(plain[0]["items"]) & {"item 1", "item 2"}
    for option in ("--include-history", "--no-exclude-history"):
        whole = recommended(model, lines, "--n=40", option)
        assert set(whole[0]["items"]) >= {"item 1", "item 2"}

    events = pl.DataFrame({"who": ["a", "a"], "what": ["item 2", "item 1"], "when": [2, 1]})
    events.write_parquet("events.parquet")
    columns = ["--user-column=who", "--item-column=what", "--time-column=when"]
    found = recommended(model, "--histories=events.parquet", "--n=3", "--exclude-history", *columns)
    assert found == [{**plain[0], "user": "a"}]
    pl.DataFrame({"who": ["a"], "items": [["item 1", "item 2"]]}).write_parquet("lists.parquet")
    lists = ["--histories=lists.parquet", "--user-column=who", "--history-column=items"]
    assert recommended(model, "--n=3", "--exclude-history", *lists) == found

    monkeypatch.setattr(sys, "stdin", io.StringIO((run / "lines.jsonl").read_text()))
    assert recommended(model, "--n=3", "--exclude-history") == plain  # --histories=- is the standard input
    assert "exists" in error_of(capsys, "recommend", model, lines, "--output=out.jsonl")


def test_recommend_to_one_history(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = f"--model={run / 'model'}"
    history = ["--history", "item 1", "item 2"]
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(history[1:])))
    expected = recommended(model, "--n=3")
    assert expected[0]["user"] == 1
    monkeypatch.setattr(sys, "stdin", None)  # is not read
    assert recommended(model, "--n=3", *history) == expected
    capsys.readouterr()
    main(["recommend", model, "--n=3", *history])
    assert json.loads(capsys.readouterr().out) == expected[0]
    assert recommended(model, "--history", "item 1", "new", "--n=3")[0]["unknown"] == 1
    said = error_of(capsys, "recommend", model, *history, "--histories=lines.jsonl")
    assert said.startswith("--history is one history in place of --histories: give one of the two")
    said = error_of(capsys, "recommend", model, *history, "--separator=;")
    assert said.startswith("--separator has no effect: --history is a list of tokens; leave it out")
    said = error_of(capsys, "recommend", "--model=ml-100k/sasrecc", "--history", "50")
    assert "did you mean 'ml-100k/sasrec'?" in said


@pytest.mark.parametrize(
    ("arguments", "text", "encoding"),
    [
        (["--separator=:"], "user_id:item_id:a,b\na:item 1:x\na:item 2:x\n", "utf-8"),
        (["--encoding=utf-16-le"], "user_id,item_id\na,item 1\na,item 2\n", "utf-16-le"),
        (["--comment=!"], "user_id,item_id\na,item 1\n!,b\na,item 2\n", "utf-8"),
        (["--ragged=drop"], "user_id,item_id\na,item 1\na,item 3,x\na,item 2\n", "utf-8"),
        (
            ["--missing-values", "none", "--drop-missing"],
            "user_id,item_id\na,item 1\na,none\na,item 2\n",
            "utf-8",
        ),
    ],
)
def test_how_recommend_reads_a_table(
    run: Path, arguments: list[str], text: str, encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("polars", reason="needs the extra [tables]")
    Path("events.csv").write_bytes(text.encode(encoding))
    base = [f"--model={run / 'model'}", "--histories=events.csv", "--n=3"]
    (plain,) = recommended(f"--model={run / 'model'}", f"--histories={run / 'lines.jsonl'}", "--n=3")
    assert recommended(*base, *arguments) == [plain]
    try:
        without = recommended(*base)
    except SystemExit:
        without = []
    assert without != [plain]


def test_how_recommend_orders_and_unquotes_a_table(run: Path) -> None:
    pytest.importorskip("polars", reason="needs the extra [tables]")
    model = f"--model={run / 'model'}"
    # more events than max_history, so that their order tells
    items = [f"item {number}" for number in range(1, 9)]
    Path("lines.jsonl").write_text(json.dumps({"user": "a", "history": items}))
    rows = [f'a;"{item}";{number},5' for number, item in enumerate(items, start=7)]
    Path("events.csv").write_text("\n".join(["user_id;item_id;when", *rows[::-1]]))
    base = [model, "--n=3", "--histories=events.csv"]
    ordered = ["--time-column=when", "--decimal=,"]
    right = recommended(model, "--n=3", "--histories=lines.jsonl")
    assert recommended(*base, *ordered) == right
    assert recommended(*base) != right
    assert recommended(*base, *ordered, "--quotes=text")[0]["unknown"] == 8


@pytest.mark.parametrize(
    ("histories", "idle"),
    [
        ("-", "--user-column"),
        ("-", "--item-column"),
        ("mine.jsonl", "--time-column"),
        ("mine.jsonl", "--history-column"),
        ("lists.parquet", "--item-column"),
        ("lists.parquet", "--time-column"),
        ("lists.parquet", "--missing-values"),
        ("-", "--separator"),
        ("mine.jsonl", "--encoding"),
        ("events.parquet", "--history-column"),
    ],
)
def test_recommend_refuses_what_its_histories_have_no_use_for(
    histories: str, idle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pl = pytest.importorskip("polars", reason="needs the extra [tables]")
    pl.DataFrame({"user_id": ["a"], "history": [["x"]]}).write_parquet("lists.parquet")
    pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}).write_parquet("events.parquet")
    said = error_of(
        capsys, "recommend", "--model=ml-100k/gru4rec", f"--histories={histories}", f"{idle}=mine"
    )
    assert said.startswith(f"{idle} has no effect: --histories {histories} is ")
    said = error_of(capsys, "recommend", "--model=ml-100k/gru4rec", f"--histories={histories}", "--overwrite")
    assert said.startswith("--overwrite has no effect without --output")


@pytest.mark.slow
def test_export(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss", reason="needs the extra [serve]")
    pytest.importorskip("onnx", reason="needs the extra [serve]")
    base = ["export", f"--model={run / 'model'}", "--output=served"]
    main([*base, "--index=flat"])
    assert Path("served/index.faiss").exists()
    assert "exists" in error_of(capsys, *base)
    manifest = Path("served/manifest.json")
    before = manifest.read_text()
    main([*base, "--overwrite", "--exclude-history"])
    assert not Path("served/index.faiss").exists()
    assert json.loads(manifest.read_text())["model"]["exclude_history"] is True
    assert json.loads(before)["model"]["exclude_history"] is False


# ---------------------------------------------------------------------- zoo


def test_zoo_build_takes_its_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    monkeypatch.setattr(
        "lightning_croloss.zoo.building.build", lambda *args, **kwargs: built.append((args, kwargs))
    )
    Path("tables").mkdir()
    base = ["zoo", "build", "--zoo=mine", "--data=tables", "--overwrite"]
    main([*base, "--config=a.yaml", "--name=a/b", "--weights=float16", "--trainer.max_epochs=3"])
    (name, config, zoo, _), options = built.pop()
    assert (name, config, zoo) == ("a/b", Path("a.yaml"), Path("mine"))
    assert options == {
        "data_folder": "tables",
        "options": ["--trainer.max_epochs=3"],
        "dtype": "float16",
        "overwrite": True,
    }
    table = [Recipe("a/one", "one.yaml", dtype="bfloat16"), Recipe("b/two", "two.yaml")]
    monkeypatch.setattr(recipes, "RECIPES", table)
    main([*base, "--all", "--dataset=a"])
    ((name, *_), options) = built.pop()
    assert (name, options["dtype"], options["overwrite"], built) == ("a/one", "bfloat16", True, [])
    one = ["--config=a.yaml", "--name=a/b"]
    for arguments, said in [
        ([*one, "--dataset=a"], "--dataset chooses among the recipes of --all"),
        ([*one, "--config=b.yaml"], "--config is given twice"),
        (["--all", "--weights=float16"], "stores weights as the recipes say"),
        (["--all", "--name=a/b"], "takes its names and options from the recipes"),
        (["--all", "--trainer.max_epochs=1"], "takes its names and options from the recipes"),
        (one[:1], "needs --name"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main([*base, *arguments])
        assert caught.value.code != 0
        assert said in capsys.readouterr().err
    assert not built


@pytest.mark.parametrize("command", ["build", "evaluate"])
def test_what_the_zoo_skips_is_no_success(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*args: Any, **kwargs: Any) -> Any:
        raise AbsentDataError("there is no data")

    monkeypatch.setattr("lightning_croloss.zoo.building.build", absent)
    monkeypatch.setattr(zoo_factory, "evaluate", absent)
    monkeypatch.setattr(zoo_factory, "list_pretrained", lambda folder: ["a/one", "b/two"])
    monkeypatch.setattr(zoo_folder, "find_pretrained", Path)
    monkeypatch.setattr(recipes, "RECIPES", [Recipe("a/one", "one.yaml"), Recipe("b/two", "two.yaml")])
    ways = [["--all"], ["a/one"]] if command == "evaluate" else [["--all"]]
    for way in ways:
        with pytest.raises(SystemExit) as caught:
            main(["zoo", command, *way])
        assert caught.value.code == 1
        told = capsys.readouterr()
        assert "a/one: skipped, there is no data" in told.out
        assert "skipped, since the data is absent: not" in told.err


def test_zoo_evaluate_takes_its_options(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = strange_checkpoint(run, "strange_zoo", monkeypatch)
    seen: list[Any] = []

    def evaluate(folder: Path, data: str | None, trusted: Any) -> list[Any]:
        seen.append((folder, data, trusted.find(name, "x").__name__))
        return [evaluating.Figure("recall@5", 0.5, 0.5, 0.1)]

    monkeypatch.setattr(zoo_factory, "evaluate", evaluate)
    allowed = f"--allow_classes={name}"
    Path("tables").mkdir()
    main(["zoo", "evaluate", "model", f"--zoo={run}", "--data=tables", allowed])
    assert "1 of 1 figures agree" in capsys.readouterr().out
    main(["zoo", "evaluate", "--all", f"--zoo={run}", allowed])
    assert seen == [(run / "model", "tables", "StrangeModel"), (run / "model", None, "StrangeModel")]


def test_zoo_list_and_show(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["zoo", "list", f"--zoo={run}"])
    assert f"{run}/model" in capsys.readouterr().out
    main(["zoo", "show", "model", f"--zoo={run}"])
    assert capsys.readouterr().out == (run / "model" / "README.md").read_text()


# ---------------------------------------------------------------------- the table

TRAINED = {
    "--config": test_a_seed_and_a_config_and_no_test,
    "--print_config": test_the_config_is_printed,
    "--seed_everything": test_a_seed_and_a_config_and_no_test,
    "--test_after_fit": test_a_seed_and_a_config_and_no_test,
    "--metrics_per_user": test_the_metrics_of_each_user,
    "--overwrite": test_the_metrics_of_each_user,
    "--pretrained": test_weights.test_pretrained_weights_are_measured,
    "--allow_classes": test_a_strange_class_is_allowed_on_request,
    "--ckpt_path": test_weights.test_a_resumed_run_uses_or_refuses_what_is_given,
    "--weights_only": test_a_checkpoint_that_holds_more_than_plain_types,
    "--model": test_weights.test_what_is_given_for_the_evaluation_is_used,
    "--data": test_the_config_is_printed,
    "--trainer": test_predict_refuses_a_logger_and_what_belongs_to_fit,
    "--tune": test_tune.test_fit_leaves_the_section_out,
} | {f"--trainer.{name}": test_the_trainer_gets_its_options for name in TRAINER}
MEASURED = TRAINED | {
    "--test_after_fit": test_predict_refuses_a_logger_and_what_belongs_to_fit,
    "--ckpt_path": test_weights.test_what_contradicts_the_weights_is_refused,
}
#: For each option of each command the test that shows its effect, or that it is refused.
TESTED: dict[str, dict[str, Callable[..., None]]] = {
    "fit": TRAINED | {"--seeds": test_seeds.test_the_results},
    "validate": MEASURED | {"--verbose": test_lightning_prints_its_table_on_request},
    "test": MEASURED | {"--verbose": test_lightning_prints_its_table_on_request},
    "predict": MEASURED
    | dict.fromkeys(
        ["--output", "--overwrite", "--n", "--exclude_history"], test_predict_writes_what_it_is_told
    ),
    "data inspect": dict.fromkeys(["--config", "--data", "--json"], test_data_inspect)
    | {"--print_config": test_the_config_is_printed},
    "data partition": dict.fromkeys(
        ["--interactions", "--output", "--partitions"],
        test_data_partition.test_a_fit_by_partitions_measures_what_one_of_the_table_does,
    )
    | dict.fromkeys(
        [
            "--user-column",
            "--item-column",
            "--time-column",
            "--columns",
            "--missing-values",
            "--drop-missing",
            "--separator",
            "--encoding",
            "--decimal",
            "--comment",
            "--ragged",
            "--quotes",
        ],
        test_data_partition.test_the_options,
    )
    | {"--overwrite": test_data_partition.test_what_it_refuses},
    "recommend": dict.fromkeys(
        [
            "--model",
            "--histories",
            "--output",
            "--n",
            "--exclude-history",
            "--include-history",
            "--user-column",
            "--item-column",
            "--history-column",
            "--overwrite",
        ],
        test_recommend,
    )
    | dict.fromkeys(["--allow", "--deny"], test_recommend_reading.test_allowed_and_denied_items)
    | {"--users": test_recommend_users.test_every_way_leads_to_the_same_lists}
    | {"--history": test_recommend_to_one_history}
    | {"--all-events": test_recommend_filters.test_one_note_says_what_is_left_out}
    | {"--shard": test_recommend_partitions.test_shards_share_the_partitions_out}
    | {"--devices": test_recommend_processes.test_two_processes_write_what_one_writes}
    | dict.fromkeys(
        [
            "--separator",
            "--encoding",
            "--comment",
            "--ragged",
            "--missing-values",
            "--drop-missing",
        ],
        test_how_recommend_reads_a_table,
    )
    | dict.fromkeys(
        ["--time-column", "--decimal", "--quotes"], test_how_recommend_orders_and_unquotes_a_table
    )
    | {"--allow_classes": test_a_strange_class_is_allowed_on_request},
    "export": dict.fromkeys(
        ["--model", "--output", "--index", "--exclude-history", "--overwrite"], test_export
    )
    | {"--allow_classes": test_a_strange_class_is_allowed_on_request},
    "gather": dict.fromkeys(
        ["--checkpoint", "--output", "--overwrite"], test_gather.test_the_file_is_the_model_of_the_folder
    ),
    "tune": dict.fromkeys(["--config", "--n", "--output"], test_tune.test_the_best_is_handed_back)
    | {"--interactions": test_tune_table.test_a_table_becomes_a_model}
    | dict.fromkeys(["--objective", "--weights"], test_tune.test_weights_and_another_metric)
    | {
        "--fits": test_tune.test_fits_bound_the_cost,
        "--minutes": test_tune.test_minutes_decide_what_is_tried,
        "--trials": test_tune.test_a_space_and_trials,
        "--sampler": test_tune.test_the_sampler_tpe,
        "--processes": test_tune.test_processes_share_the_machine,
        "--seeds": test_tune.test_further_seeds,
        "--storage": test_tune.test_the_storage_of_optuna,
        "--overwrite": test_tune.test_another_search_keeps_its_folder,
    },
    "zoo list": {"--zoo": test_zoo_list_and_show},
    "zoo show": {"--zoo": test_zoo_list_and_show},
    "zoo build": dict.fromkeys(
        ["--zoo", "--config", "--all", "--name", "--dataset", "--data", "--weights", "--overwrite"],
        test_zoo_build_takes_its_options,
    ),
    "zoo evaluate": dict.fromkeys(
        ["--zoo", "--all", "--data", "--allow_classes"], test_zoo_evaluate_takes_its_options
    ),
}


class Parsers(CROLossCLI):
    """The parsers of the trainer's commands, and nothing else."""

    def __init__(self) -> None:
        with pytest.raises(Reached):
            super().__init__([])

    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise Reached


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command of ``croloss`` with its parser."""
    yield from Parsers()._subcommand_parsers.items()
    yield "data inspect", data_command._parser()
    yield "data partition", partition_parser()
    yield "recommend", recommend_parser()
    yield "export", export_command._parser()
    yield "gather", gather_command._parser()
    yield "tune", tune_parser()
    (commands,) = (
        action for action in zoo_command._parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    for name, parser in commands.choices.items():
        yield f"zoo {name}", parser


def test_every_option_of_every_command_has_a_test() -> None:
    found = {}
    for command, parser in parsers():
        options = {
            next(option for option in action.option_strings if option.startswith("--"))
            for action in parser._actions
            if action.option_strings
        }
        found[command] = {option for option in options if not option.endswith("help")}
    assert found == {command: set(tests) for command, tests in TESTED.items()}


def test_arguments_given_in_python(run: Path) -> None:
    model = {"class_path": "YouTubeDNN", "init_args": {"ns": [2]}}
    trainer = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    data = {"class_path": "tests.data_for_tests.ClusteredData"}
    path = str(run / "model.ckpt")
    CROLossCLI(
        {"subcommand": "test", "test": {"model": model, "data": data, "trainer": trainer, "ckpt_path": path}}
    )
    assert set(json.loads(Path("test_results.json").read_text())["recall"]) == {"2"}

"""Lists of a config that a later one replaces are told; a plus adds to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lightning_croloss import RecallReport
from lightning_croloss.cli.config.overlays import replaced_lists
from lightning_croloss.cli.data import inspect as data_command
from lightning_croloss.cli.lightning_cli import run_fit
from tests.cli.cases import ROOT, error_of
from tests.cli.small import FIT, NO_PLOT

pytestmark = [pytest.mark.filterwarnings("ignore"), NO_PLOT]

KEEPS = {"class_path": "ModelCheckpoint", "init_args": {"save_last": True}}
STOPS = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/recall@10", "mode": "max"}}
WATCHES = {"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"}


def written(name: str, content: Any) -> str:
    Path(name).write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return f"--config={name}"


def trainer_with(**fields: Any) -> dict[str, Any]:
    return {"trainer": fields}


def told(*words: str, command: str | None = None) -> list[str]:
    return list(replaced_lists(words, command))


BASE = trainer_with(callbacks=[KEEPS, STOPS], max_epochs=3)


@pytest.mark.parametrize(
    ("overlay", "replaced"),
    [
        (trainer_with(callbacks=[WATCHES]), "ModelCheckpoint, EarlyStopping"),
        (trainer_with(callbacks=WATCHES), "ModelCheckpoint, EarlyStopping"),
        (trainer_with(callbacks="LearningRateMonitor"), "ModelCheckpoint, EarlyStopping"),
        (trainer_with(callbacks=[]), "ModelCheckpoint, EarlyStopping"),
        (trainer_with(callbacks=None), "ModelCheckpoint, EarlyStopping"),
        (trainer_with(callbacks=[WATCHES, STOPS]), "ModelCheckpoint"),
        # the same class with other settings: the former ones are lost
        (trainer_with(callbacks=[KEEPS, {"class_path": "EarlyStopping"}]), "EarlyStopping"),
        (trainer_with(callbacks=[KEEPS, STOPS, WATCHES]), None),
        (trainer_with(max_epochs=5), None),
        ({"trainer": None}, None),
        ({}, None),
        (trainer_with(**{"callbacks+": [WATCHES]}), None),
        (trainer_with(**{"callbacks+": WATCHES}), None),
    ],
)
def test_callbacks_of_an_overlay(overlay: dict[str, Any], replaced: str | None) -> None:
    lines = told(written("base.yaml", BASE), written("overlay.yaml", overlay))
    said = f"trainer.callbacks of overlay.yaml replaces {replaced} of base.yaml"
    expected = f"{said}: write 'callbacks+:' to add to them"
    assert lines == ([] if replaced is None else [expected])


@pytest.mark.parametrize(
    ("words", "replaced"),
    [
        (["--trainer.callbacks=LearningRateMonitor"], "ModelCheckpoint, EarlyStopping"),
        (["--trainer.callbacks", "LearningRateMonitor"], "ModelCheckpoint, EarlyStopping"),
        (['--trainer.callbacks=[{"class_path": "LearningRateMonitor"}]'], "ModelCheckpoint, EarlyStopping"),
        (["--trainer.callbacks+=LearningRateMonitor"], None),
        (["--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks.logging_interval=step"], None),
        (["--trainer.callbacks.patience=3"], None),
        (["--trainer.max_epochs=3"], None),
    ],
)
def test_callbacks_of_the_command_line(words: list[str], replaced: str | None) -> None:
    expected = (
        f"trainer.callbacks of the command line replaces {replaced} of base.yaml: "
        "write --trainer.callbacks+=… to add to them"
    )
    assert told(written("base.yaml", BASE), *words) == ([] if replaced is None else [expected])


@pytest.mark.parametrize(
    ("section", "one", "other", "said"),
    [
        (
            "trainer",
            {"logger": [{"class_path": "CSVLogger"}]},
            {"logger": {"class_path": "WandbLogger"}},
            True,
        ),
        (
            "trainer",
            {"logger": {"class_path": "CSVLogger"}},
            {"logger": {"class_path": "WandbLogger"}},
            False,
        ),
        ("trainer", {"logger": [{"class_path": "CSVLogger"}]}, {"logger": False}, True),
        ("data", {"init_args": {"item_features": ["a", "b"]}}, {"init_args": {"item_features": ["c"]}}, True),
        ("data", {"init_args": {"item_features": ["a"]}}, {"init_args": {"item_features+": ["c"]}}, False),
        ("model", {"init_args": {"ns": [10, 20]}}, {"init_args": {"ns": [5]}}, False),
        ("model", {"init_args": {"hidden_dims": [64]}}, {"class_path": "MIND"}, False),
    ],
)
def test_other_lists(section: str, one: dict[str, Any], other: dict[str, Any], said: bool) -> None:
    lines = told(written("one.yaml", {section: one}), written("other.yaml", {section: other}))
    assert len(lines) == said
    field = next(iter(one.get("init_args", one)))
    assert all(line.startswith(f"{section}.{field} of other.yaml replaces ") for line in lines)


def test_each_source_is_named() -> None:
    configs = written("a.yaml", BASE), written("b.yaml", trainer_with(**{"callbacks+": WATCHES}))
    (line,) = told(*configs, "--trainer.callbacks=RichModelSummary")
    assert "replaces ModelCheckpoint, EarlyStopping, LearningRateMonitor of a.yaml and b.yaml" in line
    many = [{"class_path": f"Callback{number}"} for number in range(9)]
    (line,) = told(written("a.yaml", trainer_with(callbacks=many)), configs[1], "--trainer.callbacks=X")
    assert "Callback5, … of a.yaml and b.yaml" in line


def test_a_config_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    config = written("base.yaml", BASE)
    given = config.replace("base.yaml", "~/base.yaml")
    assert given != config
    words = ["--trainer.callbacks=LearningRateMonitor"]
    assert told(given, *words) == told(config, *words) != []


def test_configs_before_the_command_have_sections_of_commands() -> None:
    written("both.yaml", {"fit": BASE, "test": trainer_with(callbacks=[WATCHES])})
    words = ["--config=both.yaml", "fit", "--trainer.callbacks=RichModelSummary"]
    (line,) = told(*words, command="fit")
    assert "replaces ModelCheckpoint, EarlyStopping of both.yaml" in line


def test_what_aliases_repeat_is_looked_at_once() -> None:
    levels = [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 40)]
    text = "\n".join(["a0: &a0 {z: [text]}", *levels])
    assert told(written("one.yaml", text), written("other.yaml", text)) == []


def test_with_and_without_the_plus(capsys: pytest.CaptureFixture[str]) -> None:
    config = written("both.yaml", trainer_with(**{"callbacks": [KEEPS], "callbacks+": [WATCHES]}))
    said = error_of(capsys, "fit", *FIT, config)
    assert said.startswith("both.yaml: trainer.callbacks stands there with and without the plus")


def test_a_run_with_added_callbacks_and_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    tensorboard = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "runs", "name": "other"}}
    base = written("base.yaml", trainer_with(callbacks=[KEEPS]))
    overlay = written("overlay.yaml", trainer_with(**{"callbacks+": [STOPS], "logger+": tensorboard}))
    one_more = "--trainer.callbacks+=LearningRateMonitor", "--trainer.callbacks.logging_interval=step"
    quick = "--trainer.limit_train_batches=2", "--test_after_fit=false"
    trainer, _ = run_fit([*FIT, base, overlay, *one_more, *quick])
    kinds = [type(callback) for callback in trainer.callbacks]
    for kind in (ModelCheckpoint, EarlyStopping, LearningRateMonitor, RecallReport):
        assert kinds.count(kind) == 1
    assert [type(logger) for logger in trainer.loggers] == [CSVLogger, TensorBoardLogger]
    assert "replaces" not in capsys.readouterr().err
    # the resolved config has the whole list, and is a config like any other
    resolved = yaml.safe_load(Path("runs/croloss/version_0/config.yaml").read_text())
    assert len(resolved["trainer"]["callbacks"]) == 3


def test_a_run_with_replaced_callbacks_keeps_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    base, overlay = written("base.yaml", BASE), written("overlay.yaml", trainer_with(callbacks=[WATCHES]))
    trainer, _ = run_fit([base, overlay, *FIT, "--trainer.limit_train_batches=2"])
    kinds = {type(callback) for callback in trainer.callbacks}
    assert RecallReport in kinds
    assert EarlyStopping not in kinds
    output = capsys.readouterr()
    line = "croloss: trainer.callbacks of overlay.yaml replaces ModelCheckpoint, EarlyStopping of base.yaml"
    assert output.err.count(line) == 1
    assert "test metrics" in output.out


@pytest.mark.parametrize("callback", [STOPS, KEEPS])
def test_a_callback_that_is_added_again(callback: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    added = written("plus.yaml", trainer_with(**{"callbacks+": callback}))
    said = error_of(capsys, "fit", *FIT, written("base.yaml", BASE), added)
    assert said.startswith(f"trainer.callbacks holds {callback['class_path']} twice with settings that")


def test_data_inspect_tells_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"u{user},i{item}" for user in range(9) for item in range(6)]
    Path("events.csv").write_text("\n".join(["user_id,item_id", *rows]))
    settings = {"interactions": "events.csv", "time_column": None, "missing_values": ["NA"]}
    base = written("base.yaml", {"data": {"class_path": "TableDataModule", "init_args": settings}} | BASE)
    overlay = {"data": {"init_args": {"missing_values": ["?"]}}} | trainer_with(callbacks=[WATCHES])
    data_command.main(["inspect", base, written("overlay.yaml", overlay)])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("croloss: data.missing_values of overlay.yaml replaces NA of base.yaml")
    plus = written("plus.yaml", {"data": {"init_args": {"missing_values+": ["?"]}}})
    data_command.main(["inspect", base, plus])
    assert capsys.readouterr().err == ""


def test_the_overlay_that_shows_it() -> None:
    """Its callback is added, and its schedule is built."""
    overlay = f"--config={ROOT / 'configs' / 'overlays' / 'warm_up.yaml'}"
    trainer, model = run_fit([*FIT, written("base.yaml", trainer_with(callbacks=[KEEPS])), overlay])
    kinds = {type(callback) for callback in trainer.callbacks}
    assert {ModelCheckpoint, LearningRateMonitor} <= kinds
    assert model.hparams["lr_scheduler"]["init_args"]["milestones"] == [200]
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3 * (0.1 + 0.9 * 3 / 200))

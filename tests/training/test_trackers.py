"""Tracker overlays: what a run leaves in W&B (read back from an offline run), TensorBoard and CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch.loggers.wandb as lightning_wandb
import pytest
import yaml

from lightning_croloss.cli import main
from tests.cli.cases import CONFIG, QUICK, ROOT, error_of

pytest.importorskip("recbole", reason="the runs are on the dataset that RecBole bundles")
pytestmark = pytest.mark.filterwarnings("ignore")
SHORT = [*QUICK, "--trainer.max_epochs=1", "--trainer.log_every_n_steps=10"]
SHORTEST = [*SHORT, "--trainer.limit_train_batches=5", "--trainer.log_every_n_steps=2"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")


def with_tracker(name: str) -> list[str]:
    return ["fit", "--config", str(CONFIG), "--config", str(ROOT / "configs" / "trackers" / f"{name}.yaml")]


def values_of(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


@pytest.mark.slow
def test_an_offline_wandb_run_holds_everything() -> None:
    wandb = pytest.importorskip("wandb", reason="needs the extra [wandb]")
    from tests.training.wandb_reader import written_whole

    main([*with_tracker("wandb"), *SHORT])
    wandb.finish()
    (path,) = Path("runs/wandb").glob("offline-run-*/run-*.wandb")
    (folder,) = Path("runs/lightning-croloss").iterdir()
    config: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    artifacts: dict[str, Any] = {}
    kinds: list[str] = []
    for record in written_whole(path):
        kind = record.WhichOneof("record_type")
        kinds.append(kind)
        if kind == "run":  # what W&B knew of the config when it began to write
            config |= values_of(record.run.config.update)
        elif kind == "config":
            config |= values_of(record.config.update)
        elif kind == "history":
            history.append(values_of(record.history.item))
        elif kind == "artifact":
            artifacts[record.artifact.type] = record.artifact

    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert "config" in config, f"{sorted(config)} in the records {kinds} of {path.stat().st_size} bytes"
    assert config["config"] == json.loads(json.dumps(resolved))
    assert config["config"]["model"]["init_args"]["loss"]["init_args"]["temperature"] == 0.05
    (schedule,) = (
        callback["init_args"]["n"]
        for callback in config["config"]["trainer"]["callbacks"]
        if callback["class_path"].endswith("CROLossCallback")
    )
    assert schedule["init_args"]["start"] == 1000

    steps = [row for row in history if "croloss/n" in row]
    assert [row["trainer/global_step"] for row in steps] == [9, 19, 29]
    assert steps[0]["croloss/n"] > steps[1]["croloss/n"] >= 50
    assert all({"train/loss", "train/soft_rank"} <= row.keys() for row in steps)
    results = json.loads((folder / "test_results.json").read_text())
    for stage in ("val", "test"):
        (row,) = [row for row in history if f"{stage}/recall@50" in row]
        assert {f"{stage}/{metric}@{n}" for metric, by_n in results.items() for n in by_n} <= row.keys()
    assert row["test/recall@50"] == pytest.approx(results["recall"]["50"])

    (table,) = path.parent.glob("files/media/table/test/metrics_against_n*.json")
    cells = json.loads(table.read_text())
    points = [dict(zip(cells["columns"], line, strict=True)) for line in cells["data"]]
    recall = {str(point["step"]): point["lineVal"] for point in points if point["lineKey"] == "recall"}
    assert recall == pytest.approx(results["recall"])

    model = artifacts["model"]
    assert "best" in model.aliases
    (entry,) = model.manifest.contents
    assert (entry.path, entry.size) == ("best.ckpt", (folder / "checkpoints" / "best.ckpt").stat().st_size)

    # a second run does not meet the first
    main([*with_tracker("wandb"), *SHORTEST])
    wandb.finish()
    folders = list(Path("runs/lightning-croloss").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert {"config.yaml", "test_results.json", "checkpoints"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_tensorboard() -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra [tensorboard]"
    )
    main([*with_tracker("tensorboard"), *SHORTEST])
    folder = Path("runs/croloss/version_0")
    assert (folder / "config.yaml").exists()
    found = {"scalars": set(), "images": set()}
    for events in folder.glob("events.*"):
        accumulator = reader.EventAccumulator(str(events))
        accumulator.Reload()
        for kind in found:
            found[kind] |= set(accumulator.Tags()[kind])
    assert {"train/loss", "croloss/n", "val/recall@50", "test/recall@50"} <= found["scalars"]
    assert found["images"] == {"test/metrics_against_n"}


@pytest.mark.slow
def test_csv_is_what_a_run_without_overlay_does() -> None:
    main([*with_tracker("csv"), *SHORTEST])
    main(["fit", "--config", str(CONFIG), *SHORTEST])
    folders = sorted(Path("runs/croloss").iterdir())
    assert [folder.name for folder in folders] == ["version_0", "version_1"]
    assert len({(folder / "metrics.csv").read_text() for folder in folders}) == 1
    assert len({(folder / "config.yaml").read_text() for folder in folders}) == 1


def test_a_wrong_field_in_an_overlay(capsys: pytest.CaptureFixture[str]) -> None:
    overlay = Path("mine.yaml")
    overlay.write_text("trainer: {logger: {class_path: WandbLogger, init_args: {projct: x}}}")
    said = error_of(capsys, "fit", "--config", str(CONFIG), "--config", str(overlay))
    assert said == "trainer.logger: there is no field 'projct'; did you mean 'project'? (mine.yaml, line 1)"


class _Missing:
    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "Module not found: 'wandb'. HINT: Try running `pip install -U 'wandb'`"


def test_without_wandb_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", _Missing())
    said = error_of(capsys, *with_tracker("wandb"), *SHORT)
    assert said.startswith(
        "the package wandb needs the extra [wandb]: pip install 'lightning-croloss[wandb]'"
    )

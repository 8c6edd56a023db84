"""What was kept of runs loads by each way in, gives the same figures, and can be trained further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_croloss import (
    RetrievalModel,
    TableDataModule,
    YouTubeDNN,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.cli import main
from lightning_croloss.models.checkpoint import FORMAT_VERSION, KEY
from tests.cli.small import measured as measured_by_command
from tests.formats.class_paths import every_class_path, is_public
from tests.formats.kept import CLEAR, ERROR, RUNS, SETS, Run, flat, losses_in, measured, quiet_trainer

pytest.importorskip("polars", reason="the data of these files are tables")

WAYS: dict[str, Callable[[Run], RetrievalModel]] = {
    "its class": lambda run: run.cls.load_from_checkpoint(run.checkpoint),
    "the base class": lambda run: RetrievalModel.load_from_checkpoint(run.checkpoint),
    "load_pretrained of a checkpoint": lambda run: load_pretrained(run.checkpoint),
    "load_pretrained of a folder": lambda run: load_pretrained(run.folder),
}
each_run = pytest.mark.parametrize("run", RUNS, indirect=True)


@pytest.mark.parametrize("way", WAYS)
@each_run
def test_loaded_in_python_it_gives_the_same_figures(run: Run, way: str) -> None:
    model = WAYS[way](run)
    assert type(model) is run.cls
    figures, gap = measured(model, run.data())
    assert figures == pytest.approx(run.tested(), abs=1e-9)
    assert gap > CLEAR or not run.losses_after()  # version_1 was written without a look at that


@each_run
@pytest.mark.slow
def test_the_command_line_gives_the_same_figures(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    # the resolved config of the old run, and its checkpoint, whose model replaces the config's
    found = measured_by_command(
        "test", f"--config={run.resolved}", f"--ckpt_path={run.checkpoint}", *run.in_one_process
    )
    assert flat(found) == pytest.approx(run.tested(), abs=1e-9)
    assert "--ckpt_path sets" not in capsys.readouterr().err


@each_run
@pytest.mark.slow
def test_an_old_run_goes_on_and_writes_todays_format(run: Run) -> None:
    before = run.content()
    losses = run.losses_after()
    longer = [] if losses else [f"--trainer.max_epochs={before['epoch'] + 2}"]
    kept = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.filename=end"]
    command = ["fit", f"--config={run.resolved}", f"--ckpt_path={run.checkpoint}", "--test_after_fit=false"]
    main([*command, *run.in_one_process, *kept, *longer])
    (end,) = Path("work").rglob("end.ckpt")
    content = torch.load(end, weights_only=True)
    assert content["global_step"] > before["global_step"]
    assert content[KEY]["format_version"] == FORMAT_VERSION
    config = yaml.safe_load(Path(f"work/{run.name}/config.yaml").read_text())
    paths = list(every_class_path([content["hyper_parameters"], config]))
    assert len(paths) > 5
    assert all(map(is_public, paths)), paths
    if losses:  # a run without a break had the same
        assert len(losses) >= 4
        assert losses_in(Path(f"work/{run.name}/metrics.csv")) == pytest.approx(losses, rel=ERROR)


@each_run
def test_fine_tuning_starts_from_an_old_folder(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fit", f"--config={run.config}", f"--pretrained={run.folder}", *run.in_one_process]
    main([*command, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--test_after_fit=false"])
    assert "32 of 32 items start from the pretrained model's 32" in capsys.readouterr().err


@each_run
def test_saved_again_it_names_public_classes(run: Run, tmp_path: Path) -> None:
    model = load_pretrained(run.folder)
    folder = save_pretrained(model, tmp_path / "again", config=f"{run.folder}/config.yaml")
    content = yaml.safe_load((folder / "config.yaml").read_text())
    paths = list(every_class_path({"model": content["model"]}))
    assert all(map(is_public, paths)), paths
    again = load_pretrained(folder)
    for key, value in model.state_dict().items():  # features hold NaN where a value is missing
        assert torch.equal(value.nan_to_num(), again.state_dict()[key].nan_to_num())


@pytest.mark.parametrize("folder", SETS)
def test_a_model_built_in_python_loads_with_the_state_of_its_optimizer(folder: str, copied: Any) -> None:
    copied(folder)
    path = "fits/built_in_python.ckpt"
    content = torch.load(path, weights_only=True)
    model = YouTubeDNN.load_from_checkpoint(path)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in content["state_dict"].items())
    data = TableDataModule("events.csv", user_column="user", item_column="item", time_column="time")
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(model, data, ckpt_path=path, weights_only=True)
    (optimizer,) = trainer.optimizers
    assert type(optimizer).__name__ == "LazyAdam"
    assert trainer.current_epoch == 3

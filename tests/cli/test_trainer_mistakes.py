"""Mistakes in the section ``trainer``: one sentence that begins with the field."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import MLFlowLogger

from lightning_croloss.cli.errors import meant_for_user
from lightning_croloss.cli.folders import check_folders
from lightning_croloss.cli.lightning_cli import run_fit
from lightning_croloss.cli.trainer_mistakes import check_trainer_section, construction, named
from lightning_croloss.training.trainer_checks import check_trainer
from tests.cli.cases import error_of
from tests.cli.small import FIT, NO_PLOT
from tests.data_for_tests import ClusteredData, small_model

QUIET = {"enable_progress_bar": False, "enable_model_summary": False}
NONE = {"logger": False, "enable_checkpointing": False}


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"strategy": "ddpp"}, "trainer.strategy: there is no strategy 'ddpp'; did you mean 'ddp'?"),
        ({"strategy": "DDP"}, "did you mean 'ddp'?"),
        ({"strategy": "croloss_shard"}, "did you mean 'croloss_sharded'?"),
        ({"accelerator": "gpus"}, "trainer.accelerator: there is no accelerator 'gpus'; did you mean 'gpu'?"),
        ({"accelerator": "gpu"}, "trainer.accelerator: 'gpu' was given, but no GPU is there"),
        ({"accelerator": "cuda"}, "trainer.accelerator: 'cuda' was given, but no GPU is there"),
        ({"accelerator": "mps"}, "trainer.accelerator: 'mps' was given, but no GPU is there"),
        ({"accelerator": "tpu"}, "trainer.accelerator: 'tpu' was given, but no TPU is there"),
        *(
            ({"accelerator": "cpu", "devices": devices}, "trainer.devices: on a CPU it is the number of")
            for devices in (0, "0", -1, "-1", "-5", "two", 2.5, "2.5", [0, 1])
        ),
        ({"devices": 0}, "trainer.devices"),
    ],
)
def test_what_is_not_there(monkeypatch, section, said):
    for name in ("cuda", "mps", "tpu"):
        monkeypatch.setattr(AcceleratorRegistry[name]["accelerator"], "is_available", staticmethod(bool))
    with pytest.raises(MisconfigurationException) as caught:
        check_trainer_section(section)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "section", "said"),
    [
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2"}, {}, "but MASTER_ADDR and MASTER_PORT are not, so that"),
        ({"LOCAL_RANK": "0", "MASTER_ADDR": "first"}, {"devices": 2}, "but MASTER_PORT is not, so that the"),
        ({"LOCAL_RANK": "1", "MASTER_PORT": "9"}, {"num_nodes": 2, "devices": "auto"}, "but MASTER_ADDR is"),
    ],
    ids=["nowhere", "no port", "no address"],
)
def test_processes_that_cannot_meet(monkeypatch, environment, section, said):
    for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MisconfigurationException, match=r"^LOCAL_RANK is set, as a launcher does") as caught:
        check_trainer_section(section)
    assert said in str(caught.value)
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # which says itself where to meet
    check_trainer_section(section)
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.delenv("LOCAL_RANK")
    check_trainer_section(section)


def test_one_process_has_nobody_to_meet(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_trainer_section({"devices": 1})


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"strategy": "auto", "accelerator": "auto", "devices": "auto"},
        {"strategy": "ddp_spawn", "accelerator": "cpu", "devices": 8},
        {"accelerator": "cpu", "devices": "2"},
        {"strategy": object(), "accelerator": object(), "devices": [0]},
    ],
)
def test_what_is_there(section):
    check_trainer_section(section)


@pytest.mark.parametrize(
    "field",
    [
        {"num_nodes": 0},
        {"max_epochs": -5},
        {"max_steps": -7},
        {"limit_train_batches": 2.5},
        {"limit_val_batches": -1},
        {"overfit_batches": 3.5},
        {"val_check_interval": 1.5},
        {"fast_dev_run": -1},
        {"gradient_clip_algorithm": "foo"},
        {"profiler": "foo"},
        {"precision": "foo"},
        {"precision": "transformer-engine"},
        {"plugins": "foo"},
        {"strategy": "deepspeed"},
        {"strategy": "fsdp"},
        {"reload_dataloaders_every_n_epochs": -1},
        {"benchmark": True, "deterministic": "maybe"},
        {"enable_progress_bar": False, "callbacks": [TQDMProgressBar()]},
    ],
    ids=lambda field: re.sub(r" object at \w+", "", str(field)),
)
def test_what_lightning_refuses_names_the_field(field):
    said, meant = _refusal(field)
    if not said:  # a later release may take it
        assert "deterministic" in field or "precision" in field
        return
    assert meant
    assert "\n" not in said
    named_by = said.split(": ")[0]
    assert said.startswith("the package ") or named_by in {"trainer", *(f"trainer.{name}" for name in field)}
    assert said.startswith("the package ") or named_by != "trainer" or {"callbacks", "plugins"} & {*field}


def _refusal(field):
    try:
        with construction():
            Trainer(accelerator="cpu", **NONE, **field)
    except MisconfigurationException as error:
        return str(error), meant_for_user(error)
    return "", False


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accumulate_grad_batches", 0),
        ("accumulate_grad_batches", -2),
        ("gradient_clip_val", -1.0),
        ("check_val_every_n_epoch", 0),
        ("log_every_n_steps", -1),
        ("val_check_interval", 0),
    ],
)
def test_what_lightning_lets_through_is_refused_before_the_first_step(field, value):
    model, data = small_model(), ClusteredData()
    with pytest.raises(ValueError, match=f"trainer.{field} must be .*got {value}") as caught:
        Trainer(accelerator="cpu", max_epochs=1, **NONE, **QUIET, **{field: value}).fit(model, data)
    assert meant_for_user(caught.value)


def test_a_usual_trainer_passes():
    check_trainer(Trainer(accelerator="cpu", **NONE, **QUIET))
    check_trainer(Trainer(accelerator="cpu", val_check_interval=0.25, gradient_clip_val=0, **NONE, **QUIET))


def test_a_validation_beyond_the_epoch_is_the_users():
    with pytest.raises(ValueError, match="val_check_interval") as caught:
        Trainer(
            accelerator="cpu", max_epochs=1, limit_train_batches=2, val_check_interval=9, **NONE, **QUIET
        ).fit(small_model(), ClusteredData())
    assert meant_for_user(caught.value)
    assert named(caught.value).startswith("trainer.val_check_interval: ")


def test_the_package_of_a_logger_is_named():
    try:
        import mlflow  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError) as caught:
            MLFlowLogger()
        assert meant_for_user(caught.value)
        assert named(caught.value).startswith("the package mlflow")


@pytest.mark.parametrize(
    ("cls", "arguments", "said"),
    [
        (EarlyStopping, {"monitor": "val/recall@5", "mode": "mx"}, "EarlyStopping: `mode` can be min, max"),
        (ModelCheckpoint, {"save_top_k": -3}, "ModelCheckpoint: Invalid value for save_top_k=-3"),
        (LearningRateMonitor, {"logging_interval": "x"}, "LearningRateMonitor: logging_interval should be"),
    ],
)
def test_a_callback_is_named_with_its_argument(cls, arguments, said):
    with pytest.raises(MisconfigurationException) as caught:
        cls(**arguments)
    assert named(caught.value).startswith(said)


def test_what_fails_inside_lightning_by_accident_is_not_the_users():
    with pytest.raises(TypeError) as caught:
        Trainer(accelerator="cpu", **NONE, **QUIET).fit(small_model(), ClusteredData(), no_such_argument=1)
    assert not meant_for_user(caught.value)


@NO_PLOT
@pytest.mark.filterwarnings("ignore:LightningCLI's args parameter", "ignore:.*was deprecated in v4.49")
def test_on_the_command_line(capsys):
    said = error_of(capsys, "fit", *FIT, "--trainer.strategy=ddpp")
    assert said.startswith("trainer.strategy: there is no strategy 'ddpp'")
    # one callback instead of a list is one too
    said = error_of(capsys, "fit", *FIT, "--trainer.callbacks=LearningRateMonitor", "--trainer.logger=false")
    assert said.startswith("trainer.logger: Cannot use `LearningRateMonitor`")


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS])
def test_what_the_system_says_of_a_file_is_meant_for_the_user(number):
    assert meant_for_user(OSError(number, "it cannot be", "x.parquet"))
    assert not meant_for_user(OSError(errno.EBADF, "it cannot be"))


@NO_PLOT
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["overfit_batches=0.1"], "trainer.overfit_batches: You requested to check 0.1"),
        (["logger.save_dir=/dev/null/x"], "trainer.logger.save_dir: the folder /dev/null/x cannot be made"),
        (["logger.save_dir=file"], "trainer.logger.save_dir: the folder file cannot be made: a file is in"),
        (
            ["logger=false", "default_root_dir=/dev/null/x"],
            "trainer.default_root_dir: the folder /dev/null/x cannot be made",
        ),
        (
            ["callbacks+=ModelCheckpoint", "callbacks.dirpath=/dev/null/x"],
            "trainer.callbacks: dirpath of ModelCheckpoint: the folder /dev/null/x cannot be made",
        ),
        (
            ["barebones=true", "logger=TensorBoardLogger", "logger.save_dir=x"],
            "trainer.barebones: `Trainer(barebones=True, logger=TensorBoardLogger)` was passed",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_field_is_the_one_that_was_given(capsys, options, said):
    Path("file").touch()
    found = error_of(capsys, "fit", *FIT, *(f"--trainer.{option}" for option in options))
    assert found.startswith(said)
    assert "limit_" not in found


@NO_PLOT
@pytest.mark.filterwarnings("ignore")
def test_a_barebones_trainer_has_no_logger_that_nobody_asked_for():
    trainer, _ = run_fit([*FIT, "--trainer.barebones=true", "--test_after_fit=false"])
    assert trainer.loggers == []
    assert trainer.global_step == 3


def test_a_folder_is_told_without_making_any(tmp_path):
    def check(*named, **arguments):
        before = sorted(tmp_path.rglob("*"))
        kept = [ModelCheckpoint(tmp_path / name, monitor=name) for name in named]
        given = {"accelerator": "cpu", "default_root_dir": tmp_path / "a", "logger": False, **QUIET}
        trainer = Trainer(**given, callbacks=kept, **arguments)
        try:
            check_folders(trainer)
        finally:
            assert sorted(tmp_path.rglob("*")) == before

    (tmp_path / "file").touch()
    check("b/c/d", ".")
    for name in ("file", "file/x", "file/x/y"):
        check(name, fast_dev_run=True)
        with pytest.raises(
            ValueError, match=f"the folder {tmp_path / name} cannot be made: a file is in its"
        ):
            check("b", name)
    with pytest.raises(ValueError, match="cannot be made: File name too long"):
        check("b", "x" * 300)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    for name in ("closed", "closed/x/y"):
        trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path / name, **NONE, **QUIET)
        with pytest.raises(ValueError, match=f"nothing can be written into the folder {tmp_path / 'closed'}"):
            check_folders(trainer)


def test_a_refused_fit_leaves_no_folder(capsys):
    Path("file").touch()
    options = ["logger.save_dir=new", "callbacks+=ModelCheckpoint", "callbacks.dirpath=file"]
    found = error_of(capsys, "fit", *FIT, *(f"--trainer.{option}" for option in options))
    assert found.startswith(
        f"trainer.callbacks: dirpath of ModelCheckpoint: the folder {Path('file').absolute()}"
    )
    assert not Path("new").exists()


@NO_PLOT
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ("recall@5", "did you mean 'val/recall@5'? (mode='max')"),
        ("train_loss", "or 'train/loss' (mode='min')"),
        ("train/soft_rank", "which CROLossCallback logs: add it to the callbacks"),
    ],
)
def test_what_is_never_logged_is_refused_before_the_first_step(capsys, monitor, said):
    options = ["--trainer.callbacks+=ModelCheckpoint", f"--trainer.callbacks.monitor={monitor}"]
    bar = "--trainer.enable_progress_bar=true"  # whose callback is one of ours too
    found = error_of(capsys, "fit", *FIT, *options, bar)
    assert found.startswith(f"ModelCheckpoint monitors {monitor!r}, which ")
    assert said in found

"""Checkpoints and metrics are whole or absent, also of a plain ``Trainer``."""

from __future__ import annotations

import csv
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import AsyncCheckpointIO, CheckpointIO

from lightning_croloss.errors import NotEnoughSpaceError
from lightning_croloss.training import whole_csv
from lightning_croloss.training.whole_checkpoints import WholeCheckpointIO
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

Usage = namedtuple("Usage", "total used free")


class Own(TorchCheckpointIO):
    """Another way to write checkpoints, which the user chose."""


def innermost(io: CheckpointIO) -> CheckpointIO:
    while isinstance(io, AsyncCheckpointIO):
        assert io.checkpoint_io is not None
        io = io.checkpoint_io
    return io


@pytest.mark.parametrize(
    ("plugins", "kind"),
    [
        ([], WholeCheckpointIO),
        ([TorchCheckpointIO()], WholeCheckpointIO),
        ([AsyncCheckpointIO()], WholeCheckpointIO),
        ([Own()], Own),
        ([AsyncCheckpointIO(Own())], Own),
    ],
    ids=["none", "default", "async", "own", "async own"],
)
def test_a_trainer_writes_whole_checkpoints(tmp_path: Path, plugins: list[Any], kind: type) -> None:
    saving = ModelCheckpoint(tmp_path / "kept", save_last=True)
    trainer = fit(small_model(), callbacks=[saving], plugins=plugins, enable_checkpointing=True)
    assert type(innermost(trainer.strategy.checkpoint_io)) is kind
    assert sorted(path.suffix for path in (tmp_path / "kept").iterdir()) == [".ckpt", ".ckpt"]
    for path in (tmp_path / "kept").iterdir():
        assert torch.load(path, weights_only=True)["global_step"] == trainer.global_step


@pytest.mark.parametrize("fails_at", range(0, 60, 7))
def test_a_failing_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    path = tmp_path / "last.ckpt"
    io = WholeCheckpointIO()
    io.save_checkpoint({"old": torch.ones(9)}, path)
    before = path.read_bytes()
    writes = 0
    real = Path.open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            nonlocal writes
            writes += 1
            if writes > fails_at:
                raise OSError(28, "No space left on device")
            return int(self.file.write(content))

        def flush(self) -> None:
            self.file.flush()

    def opened(self: Path, mode: str, *rest: Any) -> Any:
        return Full(real(self, mode, *rest)) if mode == "wb" else real(self, mode, *rest)

    monkeypatch.setattr(Path, "open", opened)
    content = {f"new {number}": torch.ones(9) for number in range(9)}
    with pytest.raises(
        NotEnoughSpaceError, match=r"No space left on device: .*last\.ckpt .* stays as it was"
    ):
        io.save_checkpoint(content, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_who_looks_for_checkpoints_finds_a_temporary_one(tmp_path: Path) -> None:
    seen = []

    class Watched:
        def __reduce__(self) -> Any:
            seen.extend(path.name for path in tmp_path.iterdir())
            return list, ()

    WholeCheckpointIO().save_checkpoint({"a": Watched()}, tmp_path / "last.ckpt")
    (name,) = seen
    assert name.startswith(".last.ckpt.")
    assert not name.endswith(".ckpt")


def test_what_a_killed_run_left_is_removed_and_what_runs_is_not(tmp_path: Path) -> None:
    dead = tmp_path / ".epoch=3.ckpt.0123456789abcdef.tmp"
    dead.touch()
    others = tmp_path / ".epoch=3.ckpt.0123456789.tmp"  # not a name of ours
    others.touch()
    WholeCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [others.name, "last.ckpt"]


def test_a_checkpoint_is_never_in_another_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.mkstemp", None)  # what fsspec begins with
    trainer = fit(small_model(), logger=CSVLogger(tmp_path), limit_val_batches=0, limit_train_batches=1)
    trainer.save_checkpoint(tmp_path / "new" / "mine.ckpt")
    assert torch.load(tmp_path / "new" / "mine.ckpt", weights_only=True)["global_step"] == trainer.global_step


def test_a_checkpoint_of_an_exception(tmp_path: Path) -> None:
    class Failing(OnExceptionCheckpoint):
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("out of luck")

        def teardown(self, *_: Any, **__: Any) -> None:
            """Keep the file."""

    with pytest.raises(RuntimeError, match="out of luck"):
        fit(small_model(), callbacks=[Failing(tmp_path)], enable_checkpointing=True)
    assert torch.load(tmp_path / "on_exception.ckpt", weights_only=True)["global_step"] == 1


def test_a_link_to_the_last_checkpoint_never_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = tmp_path / "last.ckpt"
    whole = []
    removing = os.remove
    real = WholeCheckpointIO.remove_checkpoint

    def remove(self: WholeCheckpointIO, path: Any) -> None:
        real(self, path)
        whole.append(torch.load(last, weights_only=True)["global_step"])

    monkeypatch.setattr(WholeCheckpointIO, "remove_checkpoint", remove)
    monkeypatch.setattr(os, "remove", lambda path: None if Path(path) == last else removing(path))
    saving = ModelCheckpoint(tmp_path, save_last="link")
    trainer = fit(small_model(), callbacks=[saving], max_epochs=3, enable_checkpointing=True)
    assert len(whole) == 2
    assert last.is_symlink()
    assert torch.load(last, weights_only=True)["global_step"] == trainer.global_step
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_metrics_are_never_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    logger = CSVLogger(tmp_path, name="mine", version=0)
    trainer = quiet_trainer(logger=logger, max_epochs=1)
    trainer.fit(small_model(), ClusteredData())
    rows = list(csv.DictReader((tmp_path / "mine/version_0/metrics.csv").open()))
    assert rows
    before = (tmp_path / "mine/version_0/metrics.csv").read_bytes()
    hparams = (tmp_path / "mine/version_0/hparams.yaml").read_bytes()
    assert yaml.safe_load(hparams)["num_items"] == small_model().num_items
    calls = 0
    real = Path.write_bytes

    def write(self: Path, content: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            real(self, content[: len(content) // 2])
            raise KeyboardInterrupt
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    states = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for number in range(3):
            logger.log_metrics({f"new {number}": 1.0} if number else {"train/loss": 0.5}, step=100 + number)
            logger.save()
            states.append((tmp_path / "mine/version_0/metrics.csv").read_bytes())
    kept = (tmp_path / "mine/version_0/metrics.csv").read_bytes()
    assert kept == (states or [before])[-1]
    found = list(csv.DictReader(kept.decode().splitlines()))
    assert len(found) == len(rows) + fails_at - 1
    assert [{name: row[name] for name in rows[0]} for row in found[: len(rows)]] == rows
    assert sorted(path.name for path in (tmp_path / "mine/version_0").iterdir()) == [
        "hparams.yaml",
        "metrics.csv",
    ]


@pytest.mark.parametrize(("rows", "at_most"), [(40, 40), (9000, 60)], ids=["short", "long"])
def test_long_metrics_are_not_written_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, at_most: int
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001  # a row
        return now

    monkeypatch.setattr(whole_csv.time, "monotonic", clock)
    monkeypatch.setattr(whole_csv, "SMALL", 400)
    sizes = []
    real = whole_csv.write_atomically

    def write(path: Path, content: bytes, durable: bool) -> None:
        nonlocal now
        now += len(content) * 1e-5
        sizes.append(len(content))
        real(path, content, durable=durable)

    monkeypatch.setattr(whole_csv, "write_atomically", write)
    logger = CSVLogger(tmp_path, name="mine", version=0, flush_logs_every_n_steps=1)
    trainer = quiet_trainer(logger=logger)
    whole_csv.write_whole_csv(trainer)
    for step in range(rows):
        logger.log_metrics({"train/loss": step / 7}, step)
    assert 5 < len(sizes) <= at_most
    assert rows == at_most or sum(sizes[:-1]) * 1e-5 < 0.05 * now
    logger.finalize("success")
    found = list(csv.DictReader((tmp_path / "mine/version_0/metrics.csv").open()))
    assert [row["train/loss"] for row in found] == [str(step / 7) for step in range(rows)]


@pytest.mark.parametrize("form", ["~/kept/a.ckpt", "file://{home}/kept/a.ckpt", "{home}/kept/a.ckpt"])
def test_a_path_means_what_it_means_to_lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = form.format(home=tmp_path)
    io = WholeCheckpointIO()
    io.save_checkpoint({"step": 3}, path)
    assert [found.name for found in (tmp_path / "kept").iterdir()] == ["a.ckpt"]
    assert io.load_checkpoint(path)["step"] == 3
    io.remove_checkpoint(path)
    assert not list((tmp_path / "kept").iterdir())


def test_without_links_the_last_checkpoint_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", none)
    saving = ModelCheckpoint(tmp_path, save_last="link")
    trainer = fit(small_model(), callbacks=[saving], max_epochs=2, enable_checkpointing=True)
    assert not (tmp_path / "last.ckpt").is_symlink()
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == trainer.global_step
    assert len(list(tmp_path.iterdir())) == 2


def test_a_users_own_way_to_link_stays(tmp_path: Path) -> None:
    links = []

    class Own(ModelCheckpoint):
        @staticmethod
        def _link_checkpoint(trainer: Any, filepath: str, linkpath: str) -> None:
            links.append(linkpath)

    fit(small_model(), callbacks=[Own(tmp_path, save_last="link")], max_epochs=1, enable_checkpointing=True)
    assert links == [str(tmp_path / "last.ckpt")]


def test_a_full_disk_is_told_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    saving = ModelCheckpoint(tmp_path, save_last=True)
    for free, refused in ((weights - 1, True), (weights, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Usage(2**40, 0, free))
        if refused:
            with pytest.raises(
                NotEnoughSpaceError, match=r"a checkpoint, .* takes .* but the file system of"
            ):
                fit(small_model(), callbacks=[saving], enable_checkpointing=True)
        else:
            with pytest.warns(UserWarning, match=r"the 3 checkpoints .* at a time take about"):
                fit(model, callbacks=[saving], enable_checkpointing=True)
    fit(small_model(), enable_checkpointing=False)  # which writes none

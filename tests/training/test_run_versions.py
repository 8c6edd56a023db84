"""Runs that begin together have folders of their own, and none takes the files of another."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lightning_croloss.training.run_folder import own_file, run_folder
from lightning_croloss.training.run_versions import own_versions, share_versions
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

LOGGERS = [CSVLogger, pytest.param(TensorBoardLogger, id="TensorBoardLogger")]


def logger_of(kind: Any, folder: Path, **kwargs: Any) -> Any:
    if kind is TensorBoardLogger:
        pytest.importorskip("tensorboard", reason="needs the extra [tensorboard]")
    return kind(folder, name="mine", **kwargs)


def claim(folder: str, barrier: Any, found: Any) -> None:
    trainer = quiet_trainer(logger=CSVLogger(folder, name="mine"))
    barrier.wait()
    with own_versions(trainer):
        found.put(trainer.loggers[0].version)


def test_runs_of_several_processes_never_share_a_version(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(4), context.Queue()
    processes = [context.Process(target=claim, args=(str(tmp_path), barrier, found)) for _ in range(4)]
    for process in processes:
        process.start()
    versions = [found.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(versions) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", LOGGERS)
def test_a_version_is_taken_at_once(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "version_1").touch()  # a file takes a name too
    trainers = [quiet_trainer(logger=logger_of(kind, tmp_path)) for _ in range(3)]
    with own_versions(trainers[0]), own_versions(trainers[1]), own_versions(trainers[2]):
        folders = [run_folder(trainer).name for trainer in trainers]
    assert folders == ["version_0", "version_2", "version_3"]
    assert all((tmp_path / "mine" / folder).is_dir() for folder in folders)


@pytest.mark.parametrize("kind", LOGGERS)
def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path: Path, kind: Any) -> None:
    def run(trainer: Any, trains: bool) -> None:
        with own_versions(trainer):
            if trains:
                trainer.fit(small_model(), ClusteredData())
            else:
                own_file(trainer, "config.yaml")
            raise RuntimeError

    for trains in (False, True):
        with pytest.raises(RuntimeError):
            run(quiet_trainer(logger=logger_of(kind, tmp_path)), trains)
        # one that has trained is kept
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["version_0"] * trains


def test_a_fixed_version_does_not_replace_an_earlier_run(tmp_path: Path) -> None:
    fit(small_model(), logger=CSVLogger(tmp_path, name="mine", version="one"))
    before = (tmp_path / "mine" / "one" / "metrics.csv").read_bytes()
    assert before
    trainer = quiet_trainer(logger=CSVLogger(tmp_path, name="mine", version="one"))
    with (
        pytest.raises(ValueError, match=r"mine/one holds metrics\.csv .* of an earlier run"),
        own_versions(trainer),
    ):
        raise AssertionError("not reached")
    assert (tmp_path / "mine" / "one" / "metrics.csv").read_bytes() == before
    with own_versions(quiet_trainer(logger=CSVLogger(tmp_path, name="mine", version="two"))):
        pass


@pytest.mark.parametrize(
    ("version", "next_ones"),
    [("one", ["one-1", "one-2"]), ("one-1", ["one-2", "one-3"]), (3, ["version_4", "version_5"])],
)
def test_what_begins_with_a_checkpoint_takes_the_next_version(
    tmp_path: Path, version: str | int, next_ones: list[str]
) -> None:
    # the config beside a checkpoint fixes the version of the run that wrote it
    fit(small_model(), logger=CSVLogger(tmp_path, name="mine", version=version))
    (first,) = (tmp_path / "mine").iterdir()
    before = {path: path.read_bytes() for path in first.rglob("*.*")}
    assert before
    for name in next_ones:
        with own_versions(
            trainer := quiet_trainer(logger=CSVLogger(tmp_path, name="mine", version=version)),
            from_checkpoint=True,
        ):
            fit(small_model(), logger=trainer.logger)
        assert (tmp_path / "mine" / name / "metrics.csv").exists()
    assert {path: path.read_bytes() for path in first.rglob("*.*")} == before


def test_other_processes_follow_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "version_0").mkdir(parents=True)
    trainer = quiet_trainer(logger=CSVLogger(tmp_path, name="mine"))
    monkeypatch.setattr(type(trainer), "is_global_zero", False)
    with own_versions(trainer):
        assert not (tmp_path / "mine" / "version_1").exists()  # only the first process takes one
        monkeypatch.setattr(trainer.strategy, "broadcast", lambda mine: [7])  # which has taken this
        share_versions(trainer)
    assert run_folder(trainer) == tmp_path / "mine" / "version_7"


def test_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("the user's")
    first, second = (quiet_trainer(default_root_dir=tmp_path) for _ in range(2))
    names = [own_file(trainer, "config.yaml").name for trainer in (first, second, first)]
    assert names == ["config-1.yaml", "config-2.yaml", "config-1.yaml"]
    assert own_file(first, "results.json").name == "results.json"
    assert (tmp_path / "config.yaml").read_text() == "the user's"

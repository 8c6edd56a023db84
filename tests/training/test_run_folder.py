"""The folder of a run is its own, whatever the logger."""

from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger

from lightning_croloss import RecallReport
from lightning_croloss.training.run_folder import run_folder
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model


class Tracker(Logger):
    """A logger without a folder for a run, whose version is known once its experiment is."""

    def __init__(self, save_dir: Path | None, version: str | int) -> None:
        super().__init__()
        self._save_dir, self._later, self._version = save_dir, version, None

    @property
    def name(self):
        return "croloss"

    @property
    def version(self):
        return self._version

    @property
    def save_dir(self):
        return self._save_dir

    @property
    def experiment(self):
        self._version = self._later
        return self

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params, *args, **kwargs):
        pass


def test_without_a_logger_it_is_the_root_folder(tmp_path):
    assert run_folder(quiet_trainer(default_root_dir=tmp_path, logger=False)) == tmp_path


def test_the_folder_of_the_first_logger(tmp_path):
    loggers = [CSVLogger(tmp_path, name="one", version=3), CSVLogger(tmp_path, name="two")]
    assert run_folder(quiet_trainer(logger=loggers)) == tmp_path / "one" / "version_3"


@pytest.mark.parametrize(("version", "folder"), [("a1b2c3", "a1b2c3"), (4, "version_4")])
def test_a_logger_without_a_folder_has_one_by_name_and_version(tmp_path, version, folder):
    kept = quiet_trainer(logger=Tracker(tmp_path / "kept", version), default_root_dir=tmp_path)
    assert run_folder(kept) == tmp_path / "kept" / "croloss" / folder
    rooted = quiet_trainer(logger=Tracker(None, version), default_root_dir=tmp_path)
    assert run_folder(rooted) == tmp_path / "croloss" / folder


class Least(Logger):
    """Has what Lightning's own example of a logger has, and no more."""

    @property
    def name(self):
        return "mine"

    @property
    def version(self):
        return "0.1"

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params, *args, **kwargs):
        pass


def test_a_logger_needs_no_experiment(tmp_path):
    callbacks = [ModelCheckpoint(), RecallReport(plot=False)]
    trainer = quiet_trainer(
        logger=Least(), default_root_dir=tmp_path, callbacks=callbacks, enable_checkpointing=True
    )
    assert run_folder(trainer) == tmp_path / "mine" / "0.1"
    trainer.fit(small_model(), ClusteredData())
    trainer.test(small_model(), ClusteredData(), verbose=False)
    assert {path.name for path in run_folder(trainer).iterdir()} == {"checkpoints", "test_results.json"}

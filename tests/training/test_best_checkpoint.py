"""The best of several checkpoint callbacks is that of the one that monitors."""

from pathlib import Path

import pytest
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from lightning_croloss import RecallReport
from lightning_croloss.callbacks import recall_report
from lightning_croloss.training.best_checkpoint import best_checkpoint, keeper_of_the_best, paths_of_the_best
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

RECALL = {"monitor": "val/recall@5", "mode": "max", "filename": "best"}
LOSS = {"monitor": "train/loss", "filename": "loss"}
STEPS = {"every_n_train_steps": 1, "filename": "steps"}
NOTHING = {"monitor": "val/ndcg@5", "mode": "max", "save_top_k": 0}


class Plain(Checkpoint):
    """Keeps nothing, and says nothing of a best."""


@pytest.mark.parametrize(
    ("callbacks", "best"),
    [
        ([STEPS, RECALL], "best"),
        ([RECALL, STEPS], "best"),
        ([STEPS, NOTHING, RECALL, LOSS], "best"),
        ([LOSS, RECALL], "loss"),
        ([NOTHING, STEPS], "steps"),
        ([STEPS], "steps"),
        ([NOTHING], ""),
        ([], ""),
    ],
)
def test_the_first_that_monitors_and_has_kept_something(tmp_path, monkeypatch, callbacks, best):
    told = []
    monkeypatch.setattr(recall_report, "log_checkpoint", lambda logger, path: told.append(path))
    watchers = [ModelCheckpoint(tmp_path, **arguments) for arguments in callbacks]
    trainer = fit(
        small_model(),
        logger=True,
        default_root_dir=tmp_path,
        callbacks=[RecallReport(plot=False), Plain(), *watchers],
        enable_checkpointing=True,
    )
    assert Path(best_checkpoint(trainer)).stem == best
    assert [path.stem for path in told] == ([best] if best else [])
    assert getattr(keeper_of_the_best(trainer), "best_model_path", "") == best_checkpoint(trainer)


def test_before_a_run_there_is_none(tmp_path):
    trainer = quiet_trainer(callbacks=[ModelCheckpoint(tmp_path)], enable_checkpointing=True)
    assert best_checkpoint(trainer) == ""


@pytest.mark.slow
def test_what_the_trainers_own_processes_have_kept_is_known(tmp_path):
    watchers = [ModelCheckpoint(tmp_path, **arguments) for arguments in (STEPS, RECALL)]
    trainer = fit(
        small_model(),
        ClusteredData(),
        callbacks=watchers,
        enable_checkpointing=True,
        devices=2,
        strategy="ddp_spawn",
    )
    assert sorted(Path(path).name for path in paths_of_the_best(trainer).values()) == [
        "best.ckpt",
        "steps.ckpt",
    ]
    assert Path(best_checkpoint(trainer)).name == "best.ckpt"

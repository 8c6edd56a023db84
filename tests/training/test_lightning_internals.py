"""A Lightning that lacks what exact resume uses: told in one sentence, and no run goes on otherwise."""

import re

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.loops import fit_loop as loops_of_fits
from lightning.pytorch.loops.fit_loop import _FitLoop

from lightning_croloss.training.lightning_internals import _OF_CALLBACKS, _OF_LOOPS, missing_internals
from lightning_croloss.tuning.segment import train_segment
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

EVERY = [f"{path}.{name}" for path, names in _OF_LOOPS.items() for name in names]
#: Of Lightning's own fit this is asked for only where training is to stop early.
REMOVED = "_can_stop_early"


class _Part:
    """Has what another object has, but for one name."""

    def __init__(self, whole, without):
        self._whole, self._without = whole, without

    def __getattr__(self, name):
        first, _, rest = self._without.partition(".")
        if name == first and not rest:
            raise AttributeError(name)
        found = getattr(self._whole, name)
        return _Part(found, rest) if name == first else found


def test_this_lightning_has_all_of_it():
    trainer = quiet_trainer(
        callbacks=[ModelCheckpoint(), StochasticWeightAveraging(0.1)], enable_checkpointing=True
    )
    assert missing_internals(trainer) == []


@pytest.mark.parametrize("name", EVERY)
def test_each_is_missed(name):
    missing = missing_internals(_Part(quiet_trainer(), name))
    assert missing[0] == name
    assert all(each.startswith(name) for each in missing)


@pytest.mark.parametrize("name", _OF_CALLBACKS["ModelCheckpoint"])
def test_those_of_callbacks_are_missed(name, monkeypatch):
    class Own(ModelCheckpoint):
        pass

    callback = Own()
    owner = next(each for each in (callback, *Own.__mro__) if name in vars(each))
    trainer = quiet_trainer(callbacks=[callback], enable_checkpointing=True)
    monkeypatch.delattr(owner, name)
    assert missing_internals(trainer) == [f"ModelCheckpoint.{name}"]


def test_what_a_checkpoint_says_is_missed(monkeypatch):
    trainer, kept = quiet_trainer(), _FitLoop.state_dict
    monkeypatch.setattr(_FitLoop, "state_dict", lambda loop: {"renamed": kept(loop)})
    assert missing_internals(trainer)[0] == "fit_loop.state_dict()['epoch_progress']"
    monkeypatch.setattr(loops_of_fits, "RestartStage", object())
    assert missing_internals(trainer)[-1] == "fit_loop: RestartStage.RESTARTED_MID_EPOCH"


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.ckpt"
    fit(small_model(), limit_train_batches=2, limit_val_batches=0).save_checkpoint(path)
    return path


def test_a_run_is_not_resumed_otherwise(saved, tmp_path, monkeypatch):
    monkeypatch.delattr(_FitLoop, REMOVED)
    said = f"lacks fit_loop.{REMOVED}, by which a run .* goes on exactly: install lightning 2.6"
    with pytest.raises(ValueError, match=said):
        fit(small_model(), max_epochs=2, ckpt_path=saved)
    # to be measured it serves
    quiet_trainer().test(small_model(), ClusteredData(), ckpt_path=saved, weights_only=True, verbose=False)
    with pytest.raises(ValueError, match=f"lacks fit_loop.{REMOVED}, .* which tune needs"):
        train_segment(quiet_trainer(), small_model(), ClusteredData(), step=1, save=tmp_path / "step.ckpt")


def test_a_run_is_trained_and_its_checkpoints_are_not_resumed(tmp_path, monkeypatch):
    path, weights = tmp_path / "model.ckpt", []

    class Watch(Callback):
        def on_train_end(self, trainer, pl_module):
            weights.append(pl_module.item_embedding.weight.detach().clone())

    whole = {"callbacks": [Watch()], "max_epochs": 2, "limit_train_batches": 2}
    fit(small_model(), **whole)
    with monkeypatch.context() as patched:
        patched.delattr(_FitLoop, REMOVED)
        with pytest.warns(UserWarning, match=f"lacks fit_loop.{REMOVED}, .* cannot be resumed"):
            fit(small_model(), **whole).save_checkpoint(path)
    assert torch.equal(*weights)
    said = "saved with a release of lightning that does not say where in training it was"
    with pytest.raises(ValueError, match=re.escape(said)):
        fit(small_model(), max_epochs=3, ckpt_path=path)


def test_a_checkpoint_without_its_moment_says_so(saved):
    content = torch.load(saved, weights_only=True)
    del content["lightning_croloss"]["position"]
    torch.save(content, saved)
    with pytest.warns(UserWarning, match="of an early release and does not say what was still to be done"):
        fit(small_model(), max_epochs=2, ckpt_path=saved, limit_train_batches=2, limit_val_batches=0)

"""Models whose loss learns its temperature: training, checkpoints, resume."""

import csv
import functools
import math

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss import (
    BPRLoss,
    CROLoss,
    CROLossCallback,
    SoftmaxLoss,
    TargetNImportance,
    YouTubeDNN,
    load_pretrained,
    save_pretrained,
)
from lightning_croloss.callbacks import Linear
from lightning_croloss.errors import PretrainedError
from lightning_croloss.training import LazyAdam
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model
from tests.training.test_resume import assert_equal_states

KEY = "loss.raw_temperature"
ADAMW = functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.5)


def learning(**kwargs):
    return small_model(loss=CROLoss("exp", alpha=1.2, learnable_temperature=True), optimizer=ADAMW, **kwargs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a trained model and its checkpoint."""
    folder = tmp_path_factory.mktemp("learned")
    model = learning()
    trainer = fit(model, max_epochs=3)
    trainer.save_checkpoint(folder / "model.ckpt")
    return model, folder / "model.ckpt"


def test_the_checkpoint_holds_it_and_gives_it_back(trained):
    model, path = trained
    content = torch.load(path, weights_only=True)
    assert content["state_dict"][KEY] != 0.0
    again = YouTubeDNN.load_from_checkpoint(path)
    assert again.loss.raw_temperature == model.loss.raw_temperature
    assert repr(again.loss) == repr(model.loss)
    assert "learnable_temperature=True" in repr(model.loss)
    assert len([line for line in repr(model).splitlines() if "loss" in line]) == 1


@pytest.mark.parametrize("loss", [SoftmaxLoss(), BPRLoss(learnable_temperature=True), CROLoss("psl_tanh")])
def test_the_checkpoint_loads_with_another_loss(trained, loss):
    again = YouTubeDNN.load_from_checkpoint(trained[1], loss=loss)
    assert type(again.loss) is type(loss)
    torch.testing.assert_close(again.encode_items(None), trained[0].encode_items(None))
    data = ClusteredData()
    quiet_trainer().test(small_model(loss=loss), data, ckpt_path=trained[1], weights_only=True, verbose=False)


def test_a_checkpoint_without_it_loads_with_it(tmp_path):
    trainer = fit(small_model(), limit_train_batches=1)
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    loss = SoftmaxLoss(learnable_temperature=True)
    again = YouTubeDNN.load_from_checkpoint(tmp_path / "plain.ckpt", loss=loss)
    assert again.loss.raw_temperature == 0.0
    fit(again, limit_train_batches=1)
    assert again.loss.raw_temperature != 0.0


def test_other_weights_that_do_not_fit_are_still_refused(trained, tmp_path):
    content = torch.load(trained[1], weights_only=True)
    content["state_dict"]["loss.other"] = torch.zeros(())
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(PretrainedError, match=r"it has 'loss\.other'"):
        YouTubeDNN.load_from_checkpoint(tmp_path / "odd.ckpt")


def test_a_pretrained_folder_holds_it(trained, tmp_path):
    model, _ = trained
    save_pretrained(model, tmp_path / "folder")
    assert load_pretrained(tmp_path / "folder").loss.raw_temperature == model.loss.raw_temperature


def test_a_resumed_run_equals_the_uninterrupted_one(trained, tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=4)
    whole = fit(learning(), max_epochs=2, callbacks=[checkpoints], enable_checkpointing=True)
    path = sorted(tmp_path.glob("*step=4.ckpt"))[0]
    resumed = fit(learning(), max_epochs=2, ckpt_path=path)
    assert_equal_states(whole.model.state_dict(), resumed.model.state_dict())
    assert whole.model.loss.raw_temperature != 0.0
    assert_equal_states(whole.optimizers[0].state_dict(), resumed.optimizers[0].state_dict())


@pytest.mark.parametrize("sparse", [True, False])
def test_weight_decay_leaves_it_alone(sparse):
    model = learning(sparse_gradients=sparse)
    trainer = fit(model, limit_train_batches=2)
    (used,) = trainer.optimizers
    assert type(used) is (LazyAdam if sparse else torch.optim.AdamW)
    others, own = used.param_groups
    assert [id(entry) for entry in own["params"]] == [id(model.loss.raw_temperature)]
    assert (others["weight_decay"], own["weight_decay"]) == (0.5, 0.0)
    assert others["lr"] == own["lr"] == 0.01
    assert len(others["params"]) + 1 == len(list(model.parameters()))
    assert model.loss.raw_temperature != 0.0


def test_without_weight_decay_there_is_one_group():
    model = small_model(loss=SoftmaxLoss(learnable_temperature=True))
    (used,) = fit(model, limit_train_batches=1).optimizers
    assert len(used.param_groups) == 1
    (used,) = fit(small_model(optimizer=ADAMW), limit_train_batches=1).optimizers
    assert len(used.param_groups) == 1


def test_the_callback_logs_it_and_refuses_to_schedule_it(tmp_path):
    loss = CROLoss("exp", TargetNImportance(10), temperature=0.2, learnable_temperature=True)
    model = small_model(loss=loss, optimizer=ADAMW)
    fit(model, folder=tmp_path, max_epochs=2, callbacks=[CROLossCallback(n=Linear(20, 5))])
    with (tmp_path / "metrics.csv").open() as file:
        seen = [
            float(row["croloss/temperature"]) for row in csv.DictReader(file) if row["croloss/temperature"]
        ]
    assert seen[0] == pytest.approx(0.2)
    assert seen[-1] != pytest.approx(0.2, rel=1e-3)
    p = model.loss.raw_temperature.item()
    assert seen[-1] == pytest.approx(0.2 * 10 ** math.tanh(p), rel=0.05)
    for value in (0.1, Linear(0.4, 0.1)):
        with pytest.raises(
            ValueError,
            match="CROLossCallback schedules 'temperature', which is a parameter that the loss learns",
        ):
            fit(learning(), callbacks=[CROLossCallback(temperature=value)])


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_not_finite_names_the_temperature():
    model = learning()
    model.loss.raw_temperature.data.fill_(math.nan)
    with pytest.raises(Exception, match="temperature=nan"):
        fit(model)

"""A fit, an exact resume, validation, prediction and a checkpoint of every architecture on the device."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_croloss import CROLossCallback, RetrievalModel
from lightning_croloss.data import DataRequest
from tests.data_for_tests import quiet_trainer
from tests.gpu.architectures import ARCHITECTURES, ITEMS, USERS, Steps, build, data, train
from tests.gpu.device import DEVICE, TRAINER, is_on_device, training_batch

pytestmark = pytest.mark.gpu

#: Epochs of the whole run, and the step in the middle of one from which another run resumes.
EPOCHS, STEP = 2, 4


def same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are equal to the last bit; a number that is missing is NaN in both."""
    one, other = one.cpu(), other.cpu()
    return one.dtype == other.dtype and bool(((one == other) | ((one != one) & (other != other))).all())


@dataclass
class Run:
    """A training that has ended."""

    name: str
    model: Any
    trainer: Trainer
    steps: Steps
    folder: Path


@pytest.fixture(scope="module", params=ARCHITECTURES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Train an architecture once, for all tests of this file."""
    folder = tmp_path_factory.mktemp("run")
    model, steps = build(request.param), Steps()
    saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=STEP, save_top_k=-1)
    trainer = train(
        model,
        max_epochs=EPOCHS,
        callbacks=[steps, saving, CROLossCallback()],
        enable_checkpointing=True,
        limit_train_batches=2 * STEP - 1,
    )
    return Run(request.param, model, trainer, steps, folder)


def test_a_fit_stays_on_the_device_and_learns(run: Run) -> None:
    assert all(map(math.isfinite, run.steps.losses))
    assert mean_loss(run.model) < mean_loss(build(run.name))
    assert run.steps.devices == {torch.device(DEVICE).type}


def mean_loss(model: Any) -> float:
    """Return a model's loss over some batches of its training, without dropout and of the same draws."""
    source = data()
    quiet_trainer(**TRAINER, limit_train_batches=0, limit_val_batches=0, max_epochs=1).fit(model, source)
    model.to(DEVICE).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        batches = itertools.islice(source.train_dataloader(), STEP)
        return fmean(float(model.loss_of(batch.to(DEVICE))) for batch in batches)


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(run: Run) -> None:
    resumed = build(run.name)
    torch.manual_seed(12345)  # another process would have drawn other numbers
    train(
        resumed,
        max_epochs=EPOCHS,
        callbacks=[CROLossCallback()],
        limit_train_batches=2 * STEP - 1,
        ckpt_path=run.folder / f"step={STEP}.ckpt",
    )
    for name, value in run.model.state_dict().items():
        assert same(value, resumed.state_dict()[name]), name


def test_validation_and_test_measure_like_the_cpu(run: Run) -> None:
    on_cpu = build(run.name)
    on_cpu.load_state_dict(run.model.state_dict())
    for stage in ("validate", "test"):
        here = getattr(quiet_trainer(**TRAINER), stage)(run.model, data(), verbose=False)[0]
        there = getattr(quiet_trainer(), stage)(on_cpu, data(), verbose=False)[0]
        assert here.keys() == there.keys()
        for name, value in there.items():
            assert here[name] == pytest.approx(value, abs=2.0 / USERS), name  # near ties may fall otherwise


def test_prediction_gives_items_that_the_user_did_not_have(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.model, "predicts_unseen_only", True)
    trainer = quiet_trainer(**TRAINER)
    batches = trainer.predict(run.model, data())
    ids = torch.cat([batch[0] for batch in batches]).cpu()
    assert ids.shape == (USERS, run.model.predicts_n)
    assert int(ids.max()) <= ITEMS
    rows = [batch.items_before for batch in data().predict_dataloader()]
    for listed, before in zip(ids, torch.cat(rows), strict=True):
        assert not set(listed[listed > 0].tolist()) & set(before.tolist())


def test_a_checkpoint_of_the_device_loads_on_the_cpu(run: Run) -> None:
    path = run.folder / f"step={STEP}.ckpt"  # written while the model was on the device
    saved = torch.load(path, weights_only=True)["state_dict"]
    # edges of graphs stay with the host
    assert all(is_on_device(value) for name, value in saved.items() if not name.endswith(".edges"))
    loaded = RetrievalModel.load_from_checkpoint(path, weights_only=True)
    assert {value.device.type for value in loaded.state_dict().values()} == {"cpu"}
    for name, value in saved.items():
        assert same(value, loaded.state_dict()[name]), name
    there = RetrievalModel.load_from_checkpoint(path, map_location=DEVICE, weights_only=True)
    assert all(is_on_device(value) for value in (*there.parameters(), *there.buffers()))


def test_vectors_are_those_of_the_cpu(run: Run) -> None:
    model = build(run.name)
    model.load_state_dict(run.model.state_dict())
    source = data()
    source.prepare_for(DataRequest(events=source.event_inputs))
    given = training_batch(source)
    model.eval()
    with torch.no_grad():
        expected = model.encode_users(given.to("cpu")), model.encode_items(None)
        model.to(given.history.device)
        found = model.encode_users(given), model.encode_items(None)
    for one, other in zip(found, expected, strict=True):
        assert is_on_device(one)
        torch.testing.assert_close(one.cpu(), other, rtol=1e-3, atol=1e-4)

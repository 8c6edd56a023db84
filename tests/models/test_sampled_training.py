"""Training steps: they lower the loss, and follow the seed."""

import csv

import pytest
import torch

from lightning_croloss import CROLoss, SoftmaxLoss, TargetNImportance
from tests.data_for_tests import ClusteredData, YouTubeDNN, fit, small_model
from tests.models.small_models import FAST_ADAM, ThreeInterests, validate


def logged(folder, name):
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (YouTubeDNN, {}),
        (YouTubeDNN, {"similarity": "dot", "loss": SoftmaxLoss(1.0)}),
        (ThreeInterests, {"loss": CROLoss("softplus", TargetNImportance(10))}),
    ],
)
@pytest.mark.slow
def test_training_lowers_the_loss_and_finds_the_items(tmp_path, cls, arguments):
    model = small_model(cls, optimizer=FAST_ADAM, **arguments)
    before = validate(model)["val/recall@10"]
    trainer = fit(model, folder=tmp_path, max_epochs=10)
    losses = logged(tmp_path, "train/loss")
    assert len(losses) == trainer.global_step == 100
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    after = float(trainer.callback_metrics["val/recall@10"])
    assert before < 0.5
    assert after > 0.8  # the ten items of the user's cluster


@pytest.mark.slow
def test_training_in_bfloat16():
    model = small_model(optimizer=FAST_ADAM)
    trainer = fit(model, max_epochs=10, precision="bf16-mixed")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert trainer.callback_metrics["val/recall@10"] > 0.9


def test_training_follows_the_seed(monkeypatch):
    def trained(seed, disturb):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        model = small_model()
        torch.manual_seed(disturb)  # what came before training has no say
        fit(model, ClusteredData(seed=0), limit_train_batches=2)
        return model.item_embedding.weight

    assert torch.equal(trained(1, disturb=1), trained(1, disturb=2))
    assert not torch.equal(trained(1, disturb=1), trained(2, disturb=1))

"""What files hold of a loss told its n, as the first release with a rule wrote it, loads for good."""

import copy

import pytest
import torch
import yaml

from lightning_croloss import RetrievalModel, YouTubeDNN
from lightning_croloss.cli import main
from lightning_croloss.models.checkpoint import KEY
from tests.cli.small import DATA, QUIET
from tests.data_for_tests import small_model
from tests.models.small_models import saved

#: No rule need ever say this again.
LOSS = yaml.safe_load("""
class_path: lightning_croloss.CROLoss
init_args:
  kernel: softplus
  importance:
    class_path: lightning_croloss.PowerImportance
    init_args:
      alpha: 1.0625
  temperature: 0.0919
  lambda_weight: 0.0
  lambda_kernel: sigmoid
  num_items: null
  rank_scaling: reference
  fused: null
  reduction: mean
  alpha: null
  learnable_temperature: false
  n: 20.0
  expected_recall: 0.5
  by_rule:
    n: 20.0
    num_items: 40
    expected_recall: 0.5
    kernel: softplus
    alpha: 1.0625
    temperature: 0.0919
""")


def check(loss):
    found = loss.kernel.name, float(loss.importance.alpha), float(loss.temperature)
    assert found == ("softplus", 1.0625, 0.0919)
    assert loss.by_rule == LOSS["init_args"]["by_rule"]


@pytest.mark.parametrize("with_metadata", [False, True])
def test_a_checkpoint(with_metadata, tmp_path):
    saved(tmp_path / "model.ckpt", small_model())
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    content["hyper_parameters"]["loss"] = copy.deepcopy(LOSS)
    if with_metadata:
        content[KEY]["by_rule"] = dict(LOSS["init_args"]["by_rule"])
    torch.save(content, tmp_path / "told.ckpt")
    for load in (RetrievalModel.load_from_checkpoint, YouTubeDNN.load_from_checkpoint):
        model = load(tmp_path / "told.ckpt")
        check(model.loss)
        later = {"positive_scale": 1.0}  # arguments that the first release did not have
        assert model.hparams["loss"] == {**LOSS, "init_args": LOSS["init_args"] | later}


def test_a_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = {"class_path": "YouTubeDNN", "init_args": {"loss": LOSS, "ns": [5], "embedding_dim": 8}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": model}))
    kept = "--trainer.callbacks+=ModelCheckpoint", "--trainer.limit_train_batches=1", "--trainer.max_epochs=1"
    main(["fit", DATA, *QUIET, "--config=config.yaml", *kept, "--test_after_fit=false"])
    (checkpoint,) = tmp_path.glob("**/*.ckpt")
    check(RetrievalModel.load_from_checkpoint(checkpoint).loss)

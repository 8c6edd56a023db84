"""A loss that is not a number stops the run."""

import math

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_croloss import CROLoss
from lightning_croloss.errors import NonFiniteLossError
from tests.data_for_tests import fit, small_model
from tests.models.small_models import BreakingLoss


def test_a_loss_that_is_no_number_stops_the_run_and_spares_weights_and_checkpoints(tmp_path):
    seen = {}

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.current_epoch == 1:
                seen["file"] = (tmp_path / "best.ckpt").read_bytes()
            seen["weights"] = [parameter.detach().clone() for parameter in pl_module.parameters()]

    best = ModelCheckpoint(tmp_path, filename="best", monitor="val/recall@10", mode="max")
    model = small_model(loss=BreakingLoss(after=13))
    message = r"loss is nan at step 13 \(BreakingLoss: temperature=0.25\): lower the learning rate"
    with pytest.raises(NonFiniteLossError, match=message):
        # no logging at step 13: on the CPU every step is looked at
        fit(model, callbacks=[best, Watch()], enable_checkpointing=True, max_epochs=3, log_every_n_steps=50)
    assert seen["file"] == (tmp_path / "best.ckpt").read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "best.ckpt"]
    assert all(torch.equal(old, new) for old, new in zip(seen["weights"], model.parameters(), strict=True))


def test_the_message_holds_the_soft_rank_of_croloss():
    model = small_model(loss=CROLoss())
    with torch.no_grad():
        model.item_embedding.weight.fill_(math.inf)
    with pytest.raises(NonFiniteLossError, match=r"CROLoss: temperature=0.1, .*alpha=1, soft_rank=nan"):
        fit(model)

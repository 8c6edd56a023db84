"""A checkpoint of averages is measured as what it holds, by the trainer that has written it, too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from lightning_croloss import RetrievalModel
from tests.data_for_tests import ClusteredData, fit, small_model


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback")
@pytest.mark.parametrize("command", ["test", "validate"])
def test_the_trainer_that_has_trained_measures_the_averages(tmp_path: Path, command: str) -> None:
    keeper = ModelCheckpoint(tmp_path)
    averages = EMAWeightAveraging(decay=0.8)
    model, data = small_model(), ClusteredData()
    trainer = fit(model, data, max_epochs=1, callbacks=[keeper, averages], enable_checkpointing=True)
    path = keeper.best_model_path
    (found,) = getattr(trainer, command)(model, data, ckpt_path=path, weights_only=True, verbose=False)
    kept = RetrievalModel.load_from_checkpoint(path).state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    current = torch.load(path, weights_only=True)["current_model_state"]
    assert any(not torch.equal(value, current[name]) for name, value in kept.items())
    assert found
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, data, ckpt_path=path, weights_only=True)  # which begins with the weights of training
    assert trainer.current_epoch == 2

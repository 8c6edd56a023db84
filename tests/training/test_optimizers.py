"""Any optimizer and scheduler of torch trains a model."""

import functools

import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau

from tests.data_for_tests import fit, small_model

STEP_LR = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)

# a metric that never improves by 9
PLATEAU = functools.partial(
    ReduceLROnPlateau, monitor="val/recall@10", mode="max", threshold=9.0, threshold_mode="abs", factor=0.5
)


@pytest.mark.parametrize(
    ("scheduler", "interval", "rate"),
    [
        (None, "epoch", 0.08),
        (STEP_LR, "epoch", 0.08 / 2**3),
        (STEP_LR, "step", 0.08 / 2**12),
        (functools.partial(PLATEAU, patience=0), "epoch", 0.08 / 2**2),
        (functools.partial(PLATEAU, patience=1), "epoch", 0.08 / 2),
    ],
)
def test_any_optimizer_and_scheduler(scheduler, interval, rate):
    optimizer = functools.partial(torch.optim.SGD, lr=0.08, momentum=0.5)
    model = small_model(optimizer=optimizer, lr_scheduler=scheduler, lr_scheduler_interval=interval)
    trainer = fit(model, max_epochs=3, limit_train_batches=4)
    (used,) = trainer.optimizers
    assert isinstance(used, torch.optim.SGD)
    assert used.param_groups[0]["momentum"] == 0.5
    assert used.param_groups[0]["lr"] == pytest.approx(rate)


def test_the_default_optimizer_is_adam():
    (used,) = fit(small_model(), limit_train_batches=1).optimizers
    assert type(used) is torch.optim.Adam
    assert used.param_groups[0]["lr"] == 1e-3

"""Any optimizer and scheduler of torch trains a model."""

import functools

import numpy as np
import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import nn

from lightning_croloss.training.optimizers import build_optimizers, without_numpy
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


def parameters():
    return [nn.Parameter(torch.ones(2))]


def test_without_an_optimizer_it_is_adam_and_without_a_scheduler_there_is_none():
    built = build_optimizers(parameters(), None, None, "epoch")
    assert type(built) is torch.optim.Adam
    assert built.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_scheduler_steps_at_its_interval_and_names_its_metric(interval):
    sgd = functools.partial(torch.optim.SGD, lr=0.08)
    built = build_optimizers(parameters(), sgd, STEP_LR, interval)
    assert built["lr_scheduler"].keys() == {"scheduler", "interval"}
    assert built["lr_scheduler"]["interval"] == interval
    assert built["lr_scheduler"]["scheduler"].optimizer is built["optimizer"]
    built = build_optimizers(parameters(), sgd, PLATEAU, interval)
    assert built["lr_scheduler"]["monitor"] == "val/recall@10"
    plain = functools.partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max")
    assert build_optimizers(parameters(), sgd, plain, interval)["lr_scheduler"]["monitor"] is None


def test_the_numbers_of_numpy_become_plain():
    given = functools.partial(
        torch.optim.AdamW, lr=np.float32(0.25), betas=(np.float64(0.8), 0.9), foreach=None
    )
    made = without_numpy(given)
    assert (made.func, made.keywords) == (
        torch.optim.AdamW,
        {"lr": 0.25, "betas": (0.8, 0.9), "foreach": None},
    )
    assert type(made.keywords["lr"]) is float
    assert {type(beta) for beta in made.keywords["betas"]} == {float}
    assert type(given.keywords["lr"]) is np.float32
    assert without_numpy([np.int64(3), (np.bool_(True), "text")]) == [3, (True, "text")]
    assert type(without_numpy(np.int64(3))) is int
    assert without_numpy(None) is None


def test_a_function_stays_what_it_is():
    def make(parameters):
        return torch.optim.SGD(parameters, lr=np.float64(0.5))

    assert without_numpy(make) is make

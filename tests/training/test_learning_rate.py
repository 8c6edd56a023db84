"""The field that holds the learning rate: set by hand, by Lightning's search, and kept in checkpoints."""

import functools

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateFinder, ModelCheckpoint
from lightning.pytorch.tuner import Tuner
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CyclicLR, ExponentialLR, OneCycleLR

from lightning_croloss import YouTubeDNN
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model

OPTIMIZERS = {"none": None, "given": functools.partial(AdamW, lr=0.004), "a class": AdamW}
HALVING = functools.partial(ExponentialLR, gamma=0.5)


class Fixed(SGD):
    def __init__(self, params):
        super().__init__(params, lr=0.1)


class Own(YouTubeDNN):
    """Has an optimizer of its own, which obeys."""

    def configure_optimizers(self):
        return SGD(self.parameters(), lr=self.learning_rate)


class Deaf(YouTubeDNN):
    """Has an optimizer of its own, which does not."""

    def configure_optimizers(self):
        return SGD(self.parameters(), lr=0.03)


class Rates(Callback):
    def __init__(self):
        self.seen = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize(("kind", "rate"), [("none", 1e-3), ("given", 0.004), ("a class", 1e-3)])
def test_the_rate_is_the_optimizers_until_it_is_set(kind, rate):
    model = small_model(optimizer=OPTIMIZERS[kind], lr_scheduler=HALVING)
    assert model.learning_rate == rate
    model.learning_rate = 0.25
    rates = Rates()
    fit(model, callbacks=[rates], max_epochs=2)
    assert rates.seen == [0.25, 0.125]


def test_the_rate_of_an_unknown_optimizer():
    assert small_model(optimizer=Fixed).learning_rate is None


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses_what_is_no_rate(rate):
    with pytest.raises(ValueError, match="learning_rate must be a number above 0"):
        small_model().learning_rate = rate


@pytest.mark.parametrize("cls", [YouTubeDNN, Own])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_search_of_the_tuner(tmp_path, cls, kind):
    model = small_model(cls, optimizer=OPTIMIZERS[kind])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuner = Tuner(quiet_trainer(default_root_dir=tmp_path, max_epochs=3))
    found = tuner.lr_find(model, ClusteredData(), num_training=20)
    assert found.suggestion() is not None
    assert model.learning_rate == found.suggestion()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    rates = Rates()
    fit(model, callbacks=[rates])
    assert rates.seen == [found.suggestion()]


def searched(tmp_path, cls, ckpt_path=None, **options):
    rates, finder = Rates(), LearningRateFinder(num_training_steps=20)
    saving = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1)
    scheduler = None if cls is not YouTubeDNN else HALVING
    model = small_model(cls, lr_scheduler=scheduler)
    fit(
        model,
        callbacks=[finder, saving, rates],
        enable_checkpointing=True,
        ckpt_path=ckpt_path,
        max_epochs=3,
        default_root_dir=tmp_path,
    )
    return model, rates.seen


@pytest.mark.parametrize("cls", [YouTubeDNN, Own])
def test_the_search_of_the_callback_and_a_resume(tmp_path, cls):
    model, rates = searched(tmp_path, cls)
    rate = model.learning_rate
    assert rate not in (None, 1e-3)
    assert rates == [rate * factor for factor in ((1, 0.5, 0.25) if cls is YouTubeDNN else (1, 1, 1))]
    path = tmp_path / "step=20.ckpt"
    assert cls.load_from_checkpoint(path).learning_rate == rate
    resumed, again = searched(tmp_path / "again", cls, path)  # it is not searched once more
    assert resumed.learning_rate == rate
    assert again == rates[2:]
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_an_own_optimizer_that_does_not_use_the_rate(tmp_path):
    with pytest.warns(UserWarning, match=r"Deaf.configure_optimizers does not use self.learning_rate"):
        model, rates = searched(tmp_path, Deaf)
    assert rates[0] == model.learning_rate


@pytest.mark.parametrize(
    "scheduler",
    [
        functools.partial(OneCycleLR, max_lr=0.1, total_steps=100),
        functools.partial(CyclicLR, base_lr=0.01, max_lr=0.1, cycle_momentum=False),
    ],
    ids=["one cycle", "cyclic"],
)
def test_a_scheduler_with_rates_of_its_own(scheduler):
    model = small_model(lr_scheduler=scheduler, lr_scheduler_interval="step")
    model.learning_rate = 0.25
    with pytest.warns(UserWarning, match=r"learning_rate=0\.25 has no effect: the lr_scheduler"):
        fit(model)

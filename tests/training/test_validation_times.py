"""What waits for a validation is told if none comes in time, and acts after those that come."""

import functools
import warnings

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau as PlainPlateau

from lightning_croloss.training.validation_times import batches_in_all, first_validation
from tests.data_for_tests import ClusteredData, YouTubeDNN, fit, small_model
from tests.models.small_models import BreakingLoss

BATCHES = 4  # an epoch
RECALL = "val/recall@5"
LATE = [
    ({"check_val_every_n_epoch": 3, "max_epochs": 2}, 12, 8),
    ({"max_epochs": -1, "max_steps": 3}, 4, 3),
    ({"max_epochs": 5, "max_steps": 1, "accumulate_grad_batches": 3}, 4, 3),
    ({"max_epochs": 2, "val_check_interval": 9, "check_val_every_n_epoch": None}, 9, 8),
    ({"max_epochs": 9, "max_steps": 5, "check_val_every_n_epoch": 2}, 8, 5),
    ({"max_epochs": 1, "check_val_every_n_epoch": 2, "val_check_interval": 0.5}, 6, 4),
]
IN_TIME = [
    {"max_epochs": 1},
    {"max_epochs": 2, "check_val_every_n_epoch": 2},
    {"max_epochs": -1, "max_steps": 4},
    {"max_epochs": 5, "max_steps": 2, "accumulate_grad_batches": 3},
    {"max_epochs": 2, "val_check_interval": 8, "check_val_every_n_epoch": None},
    {"max_epochs": 1, "max_steps": 2, "val_check_interval": 0.5},
    {"max_epochs": 1, "max_steps": 1, "val_check_interval": 1},
]


class Notes(Callback):
    """Notes after how many batches validations came, and what was computed before the first step."""

    def __init__(self):
        self.validated, self.batches, self.told = [], 0, None

    def on_train_start(self, trainer, pl_module):
        self.told = first_validation(trainer), batches_in_all(trainer)

    def on_train_batch_end(self, *args):
        self.batches += 1

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.validated.append(self.batches)


def run(*callbacks, model=None, **options):
    """Train for some batches of 32 rows."""
    return fit(
        small_model() if model is None else model,
        ClusteredData(),
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        limit_train_batches=BATCHES,
        **options,
    )


@pytest.mark.parametrize("options", [options for options, *_ in LATE] + IN_TIME, ids=str)
def test_the_times_are_those_at_which_lightning_validates(options):
    notes = Notes()
    run(notes, **options)
    first, last = notes.told
    assert last == notes.batches
    assert (first <= last) == bool(notes.validated)
    assert first == next(iter(notes.validated), first)


@pytest.mark.parametrize(("options", "first", "last"), LATE, ids=str)
@pytest.mark.parametrize("save_last", [True, False])
def test_a_checkpoint_without_its_validation_is_warned_of(tmp_path, options, first, last, save_last):
    keeping = ModelCheckpoint(tmp_path, monitor=RECALL, mode="max", save_last=save_last)
    keeps = "last.ckpt alone" if save_last else "nothing"
    said = (
        f"ModelCheckpoint monitors '{RECALL}', which is never measured, since the first validation would come"
        f" after {first} batches, and training ends after {last}: it keeps {keeps}"
    )
    with pytest.warns(UserWarning, match=said):
        run(keeping, **options)
    assert [path.name for path in tmp_path.iterdir()] == (["last.ckpt"] if save_last else [])


@pytest.mark.parametrize(("options", "first", "last"), [LATE[0], LATE[3]], ids=str)
def test_a_checkpoint_that_monitors_nothing_may_wait_for_validations_too(tmp_path, options, first, last):
    with pytest.warns(UserWarning, match="ModelCheckpoint saves after validations, but the first .* nothing"):
        run(ModelCheckpoint(tmp_path), **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", IN_TIME, ids=str)
def test_in_time_nothing_is_said(tmp_path, options):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*validation would come")
        run(ModelCheckpoint(tmp_path, monitor=RECALL, mode="max"), **options)
    assert list(tmp_path.iterdir())


def test_steps_and_epochs_without_a_metric_are_kept_at_any_time(tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*validation would come")
        run(ModelCheckpoint(tmp_path / "a", every_n_train_steps=2), **LATE[0][0])
        run(ModelCheckpoint(tmp_path / "b"), **LATE[1][0])
        run(ModelCheckpoint(tmp_path / "c", monitor="train/loss", save_on_train_epoch_end=True), **LATE[0][0])
    assert len(list(tmp_path.rglob("*.ckpt"))) == 3


def test_early_stopping_that_would_fail_is_refused():
    model = small_model(loss=BreakingLoss(after=0))  # would fail at the first step
    with pytest.raises(ValueError, match=f"EarlyStopping monitors '{RECALL}', which is never measured"):
        run(EarlyStopping(RECALL, mode="max"), model=model, max_epochs=-1, max_steps=3)
    with pytest.warns(UserWarning, match="it never ends the training"):
        run(EarlyStopping(RECALL, mode="max"), **LATE[0][0])


def plateau(interval="epoch", monitor=RECALL):
    scheduler = functools.partial(ReduceLROnPlateau, monitor=monitor, mode="max", patience=0, threshold=9.0)
    return small_model(
        lr_scheduler=scheduler,
        lr_scheduler_interval=interval,
        optimizer=functools.partial(SGD, lr=1.0),
    )


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_epochs": 6, "check_val_every_n_epoch": 2}, 3),
        ({"max_epochs": 3}, 3),
        ({"max_epochs": 4, "val_check_interval": 8, "check_val_every_n_epoch": None}, 2),
        ({"max_epochs": 6, "val_check_interval": 9, "check_val_every_n_epoch": None}, 2),
        ({"max_epochs": 3, "val_check_interval": 2, "check_val_every_n_epoch": None}, 3),
        ({"max_epochs": 3, "val_check_interval": 0.5}, 3),
        ({"max_epochs": 1, "check_val_every_n_epoch": 2}, 0),
    ],
    ids=str,
)
def test_a_plateau_steps_after_what_is_measured(options, steps):
    trainer = run(model=plateau(), **options)
    # none is better than the first by the threshold: each step but the first lowers the rate tenfold
    lowered = max(steps - 1, 0)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1**lowered)


@pytest.mark.parametrize(
    "options", [{}, {"check_val_every_n_epoch": 2}, {"val_check_interval": 0.5}], ids=str
)
def test_a_plateau_of_steps_waits_for_no_validation(options):
    with pytest.raises(ValueError, match=f"ReduceLROnPlateau monitors '{RECALL}', .* not at its steps"):
        run(model=plateau("step"), max_epochs=4, **options)
    run(model=plateau("step"), max_epochs=1, val_check_interval=1)


def test_a_plateau_without_validation_is_refused():
    with pytest.raises(ValueError, match="is never measured without validation: set"):
        run(model=plateau(), limit_val_batches=0)


@pytest.mark.parametrize(("frequency", "fits"), [(1, True), (2, True), (4, True), (3, False)])
def test_the_frequency_of_an_own_scheduler(frequency, fits):
    class Own(YouTubeDNN):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            entry = {"scheduler": PlainPlateau(optimizer, mode="max"), "monitor": RECALL}
            return {"optimizer": optimizer, "lr_scheduler": {**entry, "frequency": frequency}}

    options = {"model": small_model(Own), "max_epochs": 4, "check_val_every_n_epoch": 2}
    if fits:
        run(**options)
        return
    with pytest.raises(ValueError, match="measured in every 2 epochs, but its frequency is 3: set that to 2"):
        run(**options)

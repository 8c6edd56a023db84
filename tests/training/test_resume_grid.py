"""A run resumed from a checkpoint of any moment equals the run that was not interrupted."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import OnExceptionCheckpoint

from tests.data_for_tests import fit
from tests.training.resume_runs import (
    CALLBACKS,
    MODELS,
    Watch,
    assert_same,
    built,
    check,
    checkpoints,
    data,
    global_step,
    run,
)

ACROSS_EPOCHS = {"check_val_every_n_epoch": None}


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.slow
def test_schedulers(tmp_path, kind, accumulate):
    check(tmp_path, kind, None, {"accumulate_grad_batches": accumulate})


@pytest.mark.parametrize("callbacks", CALLBACKS)
@pytest.mark.slow
def test_callbacks(tmp_path, callbacks):
    check(tmp_path, "epoch", callbacks, {"max_epochs": 4})


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("plateau", {"val_check_interval": 2}),
        ("plateau", {"val_check_interval": 2, "accumulate_grad_batches": 3}),
        ("epoch", {"check_val_every_n_epoch": 2, "max_epochs": 4}),
        ("plateau", {"limit_train_batches": 4, "num_sanity_val_steps": 1}),
        ("plateau", {"max_epochs": -1, "max_steps": 14}),
        (
            "plateau",
            {"max_epochs": -1, "max_steps": 13, "check_val_every_n_epoch": None, "val_check_interval": 3},
        ),
        ("step", {"reload_dataloaders_every_n_epochs": 1}),
        ("plateau of steps", {"precision": "bf16-mixed", "gradient_clip_val": 0.5}),
    ],
    ids=str,
)
@pytest.mark.slow
def test_options(tmp_path, kind, options):
    check(tmp_path, kind, "stopping at validation", options)


@pytest.mark.parametrize(
    ("kind", "callbacks", "accumulate", "steps"),
    [
        ("plateau", "stopping", 1, 7),
        ("plateau", "stopping", 3, 3),
        ("step", "averages", 1, 3),
        ("epoch", "stochastic averages", 1, 7),
        ("every second epoch", "stopping at validation", 3, 3),
    ],
)
@pytest.mark.slow
def test_after_max_steps(tmp_path, kind, callbacks, accumulate, steps):
    """Training ended in the middle of an epoch, whose end then came too early for the callbacks."""
    options = {"accumulate_grad_batches": accumulate}
    whole = run(tmp_path / "whole", kind, callbacks, **options)
    trainer, _, _ = run(tmp_path, kind, callbacks, max_steps=steps, **options)
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    found = [path for path in sorted(tmp_path.glob("*.ckpt")) if global_step(path) == steps]
    assert {path.stem for path in found} >= {
        "after",
        "last" if steps < 5 and accumulate == 1 else f"end-{steps}",
    }
    for path in found:
        assert_same(whole, run(tmp_path / path.stem, kind, callbacks, str(path), **options), path.stem)


def test_after_the_end_more_epochs_follow(tmp_path):
    """The averages have replaced the weights, which the next epoch does not begin with."""
    whole = run(tmp_path / "whole", "epoch", "averages")
    trainer, _, _ = run(tmp_path, "epoch", "averages", max_epochs=2)
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    assert_same(whole, run(tmp_path / "again", "epoch", "averages", str(tmp_path / "after.ckpt")), "after")


def test_a_window_of_gradients_goes_on(tmp_path):
    """Validation comes after 2 batches of 3 whose gradients are added up."""
    options = {"accumulate_grad_batches": 3, "val_check_interval": 2, "max_epochs": 2}
    whole = run(tmp_path / "whole", "adam", None, **options)
    path = tmp_path / "whole" / "val-1.ckpt"  # after 4 batches
    content = torch.load(path, weights_only=True)
    assert (
        content["lightning_croloss"]["position"]["gradients"].keys()
        == dict(whole[1].named_parameters()).keys()
    )
    assert_same(whole, run(tmp_path / "resumed", "adam", None, str(path), **options), "window")


@pytest.mark.parametrize("kind", ["plateau", "plateau of a mean"])
def test_resuming_twice(tmp_path, kind):
    options = {"val_check_interval": 3}
    whole = run(tmp_path / "whole", kind, "stopping at validation", **options)
    path = tmp_path / "whole" / "val-3.ckpt"
    for name in ("step-6", "end-10", "val-13"):
        resumed = run(tmp_path / name, kind, "stopping at validation", str(path), **options)
        # the best checkpoint of the run before the last lies in neither's folder: it is forgotten
        assert_same(whole, resumed, name, best=path.parent.name == "whole")
        path = tmp_path / name / f"{name}.ckpt"


class Failing(Callback):
    """Fails once, in the middle of a batch; a fit that goes on does not."""

    def __init__(self, batch):
        self.batch = batch

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batch:
            raise RuntimeError("out of memory")


@pytest.mark.parametrize(("accumulate", "batch"), [(1, 7), (1, 9), (3, 2), (3, 4)])
def test_after_an_error_the_batch_is_drawn_again(tmp_path, accumulate, batch):
    """Also if it was the last whose gradients are added up, in the window or in the epoch."""
    options = {"accumulate_grad_batches": accumulate, "max_epochs": 3 if accumulate == 1 else 2}
    whole = run(tmp_path / "whole", "adam", None, **options)
    model = built("adam")
    saving = OnExceptionCheckpoint(tmp_path, "error")
    callbacks = [Watch(), *checkpoints(tmp_path), saving, Failing(batch)]
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(model, data(), callbacks=callbacks, enable_checkpointing=True, **options)
    resumed = run(tmp_path / "resumed", "adam", None, str(tmp_path / "error.ckpt"), **options)
    assert min(number for what, number in resumed[2].seen if what == "batch") == batch
    assert_same(whole, resumed, "error")


@pytest.mark.parametrize(
    ("kind", "callbacks", "accumulate"),
    [
        ("adam", None, 3),
        pytest.param("plateau", "averages", 1, marks=pytest.mark.slow),
        pytest.param("thresholds of users", "stochastic averages", 1, marks=pytest.mark.slow),
        pytest.param("warm-up by step", "schedule", 3, marks=pytest.mark.slow),
    ],
)
def test_in_double_precision(tmp_path, kind, callbacks, accumulate):
    """Lightning restores the weights before it converts the model, which would round them."""
    options = {"precision": "64-true", "accumulate_grad_batches": accumulate, "max_epochs": 2}
    check(tmp_path, kind, callbacks, options, moments=("step",))

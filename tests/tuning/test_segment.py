"""A fit in segments equals the fit without a break, bit for bit."""

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint

from lightning_croloss import CROLoss, CROLossCallback
from lightning_croloss.callbacks import Linear
from lightning_croloss.tuning.length import measure_length
from lightning_croloss.tuning.segment import SegmentEnd, fit_arguments, train_segment
from tests.data_for_tests import ClusteredData, quiet_trainer
from tests.tuning.cases import ITEMS, PlainOnBatches, Positioned, plain_data, plain_model, retrieval_model

RECALL = "val/recall@5"


def trainer_for(folder, stopping=None, schedule=True, **options):
    callbacks = [ModelCheckpoint(folder, "best", monitor=RECALL, mode="max", enable_version_counter=False)]
    if stopping is not None:
        callbacks.append(EarlyStopping(RECALL, mode="max", patience=stopping))
    if schedule:
        callbacks.append(CROLossCallback(temperature=Linear(0.4, 0.1)))
    return quiet_trainer(callbacks=callbacks, enable_checkpointing=True, **{"max_epochs": 3, **options})


def state(trainer, module):
    [checkpoint] = [each for each in trainer.callbacks if isinstance(each, ModelCheckpoint)]
    kept = torch.load(checkpoint.best_model_path, weights_only=True)
    return {
        "weights": module.state_dict(),
        "best": kept["state_dict"],
        "score": checkpoint.best_model_score,
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "schedulers": [each.scheduler.state_dict() for each in trainer.lr_scheduler_configs],
        "steps": torch.tensor([trainer.global_step, kept["global_step"], trainer.current_epoch]),
        "stopped": [each.state_dict() for each in trainer.callbacks if isinstance(each, EarlyStopping)],
    }


def compare(one, other, where=""):
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            compare(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            compare(*pair, f"{where}.{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), (where, one, other)
    else:
        assert one == other, where


def check(tmp_path, build, data, rungs, **options):
    """Compare a whole fit with segments that end at the rungs, each with everything built anew."""
    seed_everything(3)
    whole_model = build()
    whole = trainer_for(tmp_path / "whole", **options)
    watch = SegmentEnd(None, tmp_path / "none", own_position=True)
    whole.callbacks.append(watch)
    whole.fit(whole_model, **fit_arguments(data()))
    outcome, resume = None, None
    for step in (*rungs, None):
        seed_everything(3)
        module, trainer = build(), trainer_for(tmp_path / "segments", **options)
        if outcome is not None:
            torch.manual_seed(12345)  # another process would have drawn other numbers
        save = tmp_path / f"{step}.ckpt"
        outcome = train_segment(trainer, module, data(), step=step, save=save, resume=resume, before=outcome)
        resume = save
        if outcome.finished:
            break
        assert outcome.step == step
        assert outcome.validations[-1].step == step
    compare(state(whole, whole_model), state(trainer, module))
    own = [each for each in outcome.validations if not each.apart]
    assert [(each.step, each.metrics[RECALL]) for each in own] == [
        (each.step, each.metrics[RECALL]) for each in watch.validations
    ]
    return outcome


# 300 rows: 10 batches an epoch
@pytest.mark.parametrize(
    ("rungs", "options"),
    [
        ((4, 13), {}),
        ((10, 20), {}),
        ((3, 11, 20), {"val_check_interval": 3}),
        ((4, 13), {"accumulate_grad_batches": 3, "val_check_interval": 2}),
        ((4, 13), {"check_val_every_n_epoch": 2, "max_epochs": 4}),
        (
            (6, 14),
            {"max_steps": 23, "max_epochs": -1, "check_val_every_n_epoch": None, "val_check_interval": 7},
        ),
    ],
    ids=str,
)
def test_segments_equal_the_whole_fit(tmp_path, rungs, options):
    outcome = check(tmp_path, retrieval_model, ClusteredData, rungs, **options)
    assert outcome.finished
    assert [each.step for each in outcome.validations if each.apart] == [
        step for step in rungs if step not in {each.step for each in outcome.validations if not each.apart}
    ]


def test_a_fit_that_stops_early_is_finished(tmp_path):
    outcome = check(
        tmp_path, retrieval_model, ClusteredData, (4, 55), stopping=0, max_epochs=12, val_check_interval=5
    )
    assert outcome.finished
    assert outcome.step < 55


def test_a_fit_that_is_about_to_stop_at_the_rung_is_finished(tmp_path):
    options = {"stopping": 0, "max_epochs": 12, "val_check_interval": 5}
    first = check(tmp_path / "first", retrieval_model, ClusteredData, (100,), **options)
    at_rung = check(tmp_path / "at", retrieval_model, ClusteredData, (first.step,), **options)
    assert at_rung.finished
    assert at_rung.step == first.step


@pytest.mark.parametrize(
    ("rungs", "options"),
    [
        ((10,), {}),
        ((10, 20), {}),
        ((10,), {"check_val_every_n_epoch": 2, "max_epochs": 4}),
        ((10,), {"precision": "64-true", "max_epochs": 2}),
    ],
    ids=str,
)
def test_a_plain_module_goes_on_exactly_from_the_end_of_an_epoch(tmp_path, rungs, options):
    check(tmp_path, plain_model, plain_data, rungs, **options)


@pytest.mark.slow
def test_a_plain_module_goes_on_exactly_anywhere_with_a_loader_that_does(tmp_path):
    def build():
        return PlainOnBatches(CROLoss(num_items=ITEMS))

    def loaders():
        train, valid = plain_data()
        return Positioned(train.dataset, 16), valid

    check(tmp_path / "ours", build, ClusteredData, (4, 10, 17), max_epochs=2)
    options = {"accumulate_grad_batches": 3, "val_check_interval": 2, "max_epochs": 2}
    check(tmp_path / "window", build, ClusteredData, (4, 13), **options)
    check(tmp_path / "of torch", plain_model, loaders, (4, 10, 17), max_epochs=2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"val_check_interval": 3},
        {"val_check_interval": 0.25},
        {"check_val_every_n_epoch": 2, "max_epochs": 5},
        {"max_steps": 13, "max_epochs": 4},
        {"max_steps": 8, "accumulate_grad_batches": 3},
        {"max_steps": 23, "max_epochs": -1, "check_val_every_n_epoch": None, "val_check_interval": 7},
        {"limit_train_batches": 4, "limit_val_batches": 1},
    ],
    ids=str,
)
def test_the_length_of_a_fit_is_known_before_it(tmp_path, options):
    build, data = retrieval_model, ClusteredData()
    length = measure_length(trainer_for(tmp_path / "a", **options), build(), data)
    outcome = train_segment(
        trainer_for(tmp_path / "b", **options), build(), data, step=None, save=tmp_path / "none"
    )
    assert length.steps == outcome.step
    assert list(length.validations) == [each.step for each in outcome.validations if not each.apart]
    assert length.resumable is None
    loaders = plain_data()
    plain = measure_length(trainer_for(tmp_path / "c", max_epochs=3), plain_model(), loaders)
    assert plain.resumable == (10, 20, 30)
    assert plain.validation_batches == 3


def test_a_validation_apart_measures_what_the_fit_would(tmp_path):
    """Averages of the weights, too, take their place."""
    measured = []
    for interval in (4, 10):  # the first one validates there itself
        trainer = quiet_trainer(
            callbacks=[EMAWeightAveraging(decay=0.5)], enable_checkpointing=True, val_check_interval=interval
        )
        trainer.checkpoint_callback.dirpath = tmp_path / str(interval)
        outcome = train_segment(
            trainer, retrieval_model(), ClusteredData(), step=4, save=tmp_path / f"{interval}.ckpt"
        )
        [validation] = outcome.validations
        assert validation.apart == (interval == 10)
        measured.append({name: each for name, each in validation.metrics.items() if "val/" in name})
    assert measured[0] == measured[1]

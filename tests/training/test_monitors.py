"""What is monitored is measured: slips are refused before training, a user's own metrics are not."""

import functools

import pytest
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim.lr_scheduler import StepLR

from lightning_croloss.training.monitors import check_monitors
from tests.data_for_tests import YouTubeDNN, fit, small_model
from tests.models.small_models import BreakingLoss

NAMES = small_model(num_items=100, ns=(10, 50)).metric_names("val")


@pytest.mark.parametrize(
    ("monitor", "meant"),
    [
        ("val/recall@20", "val/recall@50"),
        ("val/recal@10", "val/recall@10"),
        ("val/recll@50", "val/recall@50"),
        ("val/reccall@50", "val/recall@50"),
        ("val/rekall@50", "val/recall@50"),
        ("val/Recall@50", "val/recall@50"),
        ("val_recall@50", "val/recall@50"),
        ("val/recall", "val/recall@50"),
        ("val/recal", "val/recall@50"),
        ("val/ndgc@10", "val/ndcg@10"),
        ("val/hitrate@10", "val/hit_rate@10"),
        ("val/hit_rates@100", None),
        ("val/hit_ratio@10", None),
        ("val/mmr@10", None),
        ("val/dcg@10", None),
        ("val/precision@10", None),
        ("val/map@10", None),
        ("val/recall_of_new_items@10", None),
        ("val/novel_recall@10", None),
        ("train/recall@10", None),
        ("val/loss", None),
        ("train/loss", None),
        ("val/recall@10", None),
        (None, None),
    ],
)
def test_slips_are_refused_and_other_metrics_are_not(monitor, meant):
    watchers = [LearningRateMonitor(), ModelCheckpoint(monitor=monitor)]
    if meant is None:
        check_monitors(watchers, NAMES)
        return
    with pytest.raises(ValueError, match="ModelCheckpoint monitors") as caught:
        check_monitors(watchers, NAMES)
    assert f"monitors {monitor!r}, which is not measured; did you mean {meant!r}?" in str(caught.value)


@pytest.mark.parametrize("monitor", ["val/recall@20", "val/recal@10"])
def test_the_monitor_of_a_scheduler(monitor):
    plateau = functools.partial(ReduceLROnPlateau, monitor=monitor, mode="max")
    with pytest.raises(ValueError, match=f"ReduceLROnPlateau monitors '{monitor}', which is not measured"):
        check_monitors([plateau], NAMES)
    check_monitors(
        [functools.partial(StepLR, step_size=1), functools.partial(plateau, monitor=NAMES[0])], NAMES
    )


def test_a_metric_of_the_users_own_is_monitored():
    class WithPrecision(YouTubeDNN):
        def on_validation_epoch_end(self):
            super().on_validation_epoch_end()
            self.log("val/precision@10", 0.5)

    stopping = EarlyStopping(monitor="val/precision@10", mode="max", patience=1)
    assert fit(small_model(WithPrecision), callbacks=[stopping], max_epochs=9).current_epoch == 2


def test_a_scheduler_with_a_misspelt_metric_fails_before_training():
    scheduler = functools.partial(ReduceLROnPlateau, monitor="val/recal@10")
    model = small_model(lr_scheduler=scheduler)
    with pytest.raises(ValueError, match="ReduceLROnPlateau monitors 'val/recal@10', which is not measured"):
        fit(model)


@pytest.mark.parametrize("callback", [EarlyStopping, ModelCheckpoint])
def test_monitoring_what_is_not_measured_fails_before_training(callback, tmp_path):
    arguments = {"dirpath": tmp_path} if callback is ModelCheckpoint else {}
    watcher = callback(monitor="val/recall@50", mode="max", **arguments)
    model = small_model(loss=BreakingLoss(after=0))  # would fail at the first step
    with pytest.raises(ValueError, match=callback.__name__) as caught:
        fit(model, callbacks=[watcher], enable_checkpointing=True, num_sanity_val_steps=0)
    assert str(caught.value) == (
        f"{callback.__name__} monitors 'val/recall@50', which is not measured; did you mean 'val/recall@5'? "
        "(ns are the model's)"
    )


def test_early_stopping_on_a_recall():
    stopping = EarlyStopping(monitor="val/recall@10", mode="max", min_delta=9.0, patience=2)
    assert fit(small_model(), callbacks=[stopping], max_epochs=20).current_epoch == 3

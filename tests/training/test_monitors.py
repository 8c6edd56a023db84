"""What is monitored is measured: slips are refused before training, a user's own metrics are not."""

import functools

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau as PlainPlateau
from torch.optim.lr_scheduler import StepLR

from lightning_croloss import CROLossCallback
from lightning_croloss.callbacks import Linear
from lightning_croloss.models import sampled_training
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
    mode = "max" if monitor in NAMES else "min"
    watchers = [LearningRateMonitor(), ModelCheckpoint(monitor=monitor, mode=mode)]
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


WATCHERS = {
    "EarlyStopping": EarlyStopping,
    "ModelCheckpoint": lambda monitor, **mode: ModelCheckpoint(monitor=monitor, **mode),
    "ReduceLROnPlateau": lambda monitor, **mode: functools.partial(
        ReduceLROnPlateau, monitor=monitor, **mode
    ),
}


def reported(kind, said):
    """Expect the error of a callback, the warning of a scheduler."""
    if kind == "ReduceLROnPlateau":
        return pytest.warns(UserWarning, match=said)
    return pytest.raises(ValueError, match=said)


@pytest.mark.parametrize("kind", WATCHERS)
@pytest.mark.parametrize("monitor", [*NAMES, "train/loss", "train/soft_rank"])
def test_the_mode_is_that_of_the_metric(kind, monitor):
    right, wrong = ("max", "min") if monitor in NAMES else ("min", "max")
    check_monitors([WATCHERS[kind](monitor, mode=right)], NAMES)
    check_monitors([WATCHERS[kind]("val/mine", mode=wrong)], NAMES)
    with reported(kind, f"{kind} monitors '{monitor}' with mode='{wrong}'.* set mode='{right}'"):
        check_monitors([WATCHERS[kind](monitor, mode=wrong)], NAMES)


@pytest.mark.parametrize("kind", WATCHERS)
def test_the_mode_that_is_left_out_is_min(kind):
    check_monitors([WATCHERS[kind]("train/loss")], NAMES)
    with reported(kind, "set mode='max'"):
        check_monitors([WATCHERS[kind](NAMES[0])], NAMES)


def with_own_plateau(monitor, mode):
    class Own(YouTubeDNN):
        def configure_optimizers(self):
            optimizer = SGD(self.parameters(), lr=0.1)
            scheduler = PlainPlateau(optimizer, mode=mode)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": monitor}}

    return small_model(Own)


@pytest.mark.parametrize(("monitor", "mode"), [("val/recall@5", "min"), ("train/loss", "max")])
def test_the_scheduler_of_an_own_configure_optimizers_is_checked(monitor, mode):
    with pytest.warns(UserWarning, match=f"ReduceLROnPlateau monitors '{monitor}' with mode='{mode}'"):
        fit(with_own_plateau(monitor, mode))


def test_a_slip_in_an_own_configure_optimizers():
    with pytest.raises(ValueError, match="ReduceLROnPlateau monitors 'val/recal@5', which is not measured"):
        fit(with_own_plateau("val/recal@5", "max"))


# 60 rows in batches of 32: 2 steps an epoch, far from the 50 between two logs
MONITORED = ["train/loss", "train/soft_rank", "croloss/temperature"]


@pytest.mark.parametrize("monitor", MONITORED)
@pytest.mark.parametrize("every", ["epoch", "step"])
def test_what_training_logs_is_monitored_in_short_runs(tmp_path, monitor, every):
    steps = 1 if every == "step" else None
    saving = ModelCheckpoint(tmp_path, monitor=monitor, save_top_k=-1, every_n_train_steps=steps)
    stopping = EarlyStopping(monitor, patience=9, mode="min")
    plateau = functools.partial(ReduceLROnPlateau, monitor=monitor)
    model = small_model(lr_scheduler=plateau, lr_scheduler_interval=every)
    trainer = fit(
        model,
        callbacks=[CROLossCallback(temperature=Linear(0.4, 0.1)), saving, stopping],
        enable_checkpointing=True,
        max_epochs=2,
        limit_train_batches=2,
        log_every_n_steps=50,
    )
    assert len(saving.best_k_models) == (4 if every == "step" else 2)
    assert float(saving.best_model_score) == min(map(float, saving.best_k_models.values()))
    assert float(stopping.best_score) <= float(trainer.callback_metrics[monitor]) + 1


@pytest.mark.parametrize("options", [{"max_epochs": 1}, {"max_epochs": -1, "max_steps": 3}], ids=str)
def test_a_short_run_ends_with_its_loss(options):
    trainer = fit(small_model(), log_every_n_steps=50, **options)
    assert trainer.callback_metrics["train/loss"] > 0


class Falling(YouTubeDNN):
    """Measures what it is told."""

    figures = ()

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        if not self.trainer.sanity_checking:
            self.log("val/mine", self.figures[self.current_epoch])


@pytest.mark.parametrize(
    ("figures", "said"),
    [((0.1, 0.2, 0.3), True), ((0.1, 0.3, 0.2), False), ((0.3, 0.3, 0.3), False), ((0.1, 0.2, 0.2), False)],
)
@pytest.mark.parametrize("kind", ["stopping", "one", "all"])
def test_says_when_the_last_epoch_was_still_the_best(tmp_path, figures, said, kind, monkeypatch):
    told = []
    monkeypatch.setattr(sampled_training, "rank_zero_info", told.append)
    monkeypatch.setattr(Falling, "figures", figures)
    watcher = {
        "stopping": EarlyStopping("val/mine", mode="max", patience=9),
        "one": ModelCheckpoint(tmp_path, monitor="val/mine", mode="max", save_last=True),
        "all": ModelCheckpoint(tmp_path, monitor="val/mine", mode="max", save_top_k=-1),
    }[kind]
    fit(
        small_model(Falling),
        callbacks=[watcher],
        enable_checkpointing=True,
        max_epochs=3,
        limit_train_batches=1,
    )
    best = ["val/mine was at its best in the last epoch: training longer may improve it further"]
    assert told == (best if said else [])


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


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ("val_loss", "which is not measured"),
        ("val/loss", "which is not measured"),
        ("validation/recall", "which is not measured"),
        ("test/recall@10", "which is not measured; did you mean 'val/recall@10'?"),
        ("recall@5", "which is not measured; did you mean 'val/recall@5'? (mode='max')"),
        ("recall", "which is not measured"),
        ("train_loss", "or 'train/loss' (mode='min')"),
        ("loss", "or 'train/loss' (mode='min')"),
        ("train/loss_epoch", "or 'train/loss' (mode='min')"),
        ("epoch", "which is not measured"),
        ("train/soft_rank", "which CROLossCallback logs: add it to the callbacks"),
        ("croloss/n", "which CROLossCallback logs: add it to the callbacks"),
    ],
)
@pytest.mark.parametrize("kind", ["callback", "scheduler"])
def test_what_a_model_of_the_library_never_logs_fails_before_training(monitor, said, kind):
    scheduler = functools.partial(ReduceLROnPlateau, monitor=monitor) if kind == "scheduler" else None
    callbacks = [EarlyStopping(monitor)] if kind == "callback" else []
    model = small_model(loss=BreakingLoss(after=0), lr_scheduler=scheduler)
    with pytest.raises(ValueError, match=f"monitors {monitor!r}") as caught:
        fit(model, callbacks=callbacks, num_sanity_val_steps=0)
    assert said in str(caught.value)


@pytest.mark.parametrize("monitor", ["epoch", "step"])
def test_a_checkpoint_may_monitor_what_lightning_counts(tmp_path, monitor):
    keeping = ModelCheckpoint(tmp_path, monitor=monitor, mode="max")
    fit(small_model(), callbacks=[keeping], enable_checkpointing=True)
    assert keeping.best_model_path


def test_what_a_callback_of_the_users_logs_is_monitored():
    class Logs(Callback):
        def on_validation_epoch_end(self, trainer, pl_module):
            pl_module.log("val_loss", 0.5)

    callbacks = [Logs(), EarlyStopping("val_loss", patience=1)]
    assert fit(small_model(), callbacks=callbacks, max_epochs=9).current_epoch == 2


@pytest.mark.parametrize("monitor", ["train/soft_rank", "croloss/temperature"])
def test_what_the_callback_logs_is_monitored(monitor):
    callbacks = [EarlyStopping(monitor, patience=9), CROLossCallback(temperature=0.1)]
    assert fit(small_model(), callbacks=callbacks, max_epochs=2).current_epoch == 2


def test_a_monitor_without_validation_is_warned_of(tmp_path):
    watcher = ModelCheckpoint(tmp_path, monitor="val/recall@10", mode="max")
    with pytest.warns(
        UserWarning, match=r"monitors 'val/recall@10', which limit_val_batches=0\S* never measures"
    ):
        fit(small_model(), callbacks=[watcher], enable_checkpointing=True, limit_val_batches=0)


def test_a_plateau_says_which_metric_it_follows():
    model = small_model(lr_scheduler=functools.partial(PlainPlateau, mode="max"))
    with pytest.raises(ValueError, match=r"lr_scheduler: .*take lightning\.pytorch\.cli\.ReduceLROnPlateau"):
        fit(model)


def test_early_stopping_on_a_recall():
    stopping = EarlyStopping(monitor="val/recall@10", mode="max", min_delta=9.0, patience=2)
    assert fit(small_model(), callbacks=[stopping], max_epochs=20).current_epoch == 3

"""Small runs that save at every moment, and what is compared of a whole and a resumed one."""

import functools
from typing import ClassVar

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.cli import ReduceLROnPlateau
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, ExponentialLR, LinearLR, StepLR

from lightning_croloss import CROLossCallback, GRU4Rec, SLAtKLoss, UniformNegatives
from lightning_croloss.callbacks import Linear
from lightning_croloss.training import ChainedScheduler, SequentialLR
from tests.data_for_tests import ClusteredData, fit

# 300 rows: 5 batches an epoch, and 2 steps of them if the gradients of 3 are added up
BATCH = 64
RECALL = "val/recall@5"


class Watch(Callback):
    """Notes the rate of each batch and epoch, each validation, and how often the ends of things came."""

    def __init__(self):
        self.seen = {}
        self.counts = {"batches": 0, "epochs": 0, "validations": 0}

    def on_train_epoch_start(self, trainer, pl_module):
        self.seen["epoch", trainer.current_epoch] = [g["lr"] for g in trainer.optimizers[0].param_groups]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        number = trainer.fit_loop.epoch_loop.total_batch_idx
        rates = [g["lr"] for g in trainer.optimizers[0].param_groups]
        self.seen["batch", number] = (rates, batch_idx, trainer.global_step, batch.targets.tolist())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.counts["batches"] += 1

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.counts["validations"] += 1
            figures = {
                name: float(value) for name, value in trainer.callback_metrics.items() if "val/" in name
            }
            batch = trainer.fit_loop.epoch_loop.total_batch_idx
            self.seen["validation", batch] = (figures, trainer.current_epoch, trainer.global_step)

    def on_train_epoch_end(self, trainer, pl_module):
        self.counts["epochs"] += 1

    def state_dict(self):
        return dict(self.counts)

    def load_state_dict(self, state):
        self.counts = dict(state)


class Own(GRU4Rec):
    """Has a scheduler of its own, with a frequency."""

    entry: ClassVar[dict] = {}

    def configure_optimizers(self):
        optimizer = SGD(self.parameters(), lr=0.5, momentum=0.9)
        entry = dict(self.entry)
        return {"optimizer": optimizer, "lr_scheduler": {**entry, "scheduler": entry["scheduler"](optimizer)}}


class Logging(GRU4Rec):
    """Logs values of the epoch, which a scheduler monitors."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        rows = batch.batch_size
        self.log("train/mean", loss, on_step=True, on_epoch=True, batch_size=rows)
        for reduce in ("sum", "min", "max"):
            self.log(f"train/{reduce}", loss, on_step=False, on_epoch=True, reduce_fx=reduce, batch_size=rows)
        return loss


def own(scheduler, **entry):
    return type("Own", (Own,), {"entry": {"scheduler": scheduler, **entry}, "__module__": __name__})


def given(scheduler, interval="epoch"):
    optimizer = functools.partial(SGD, lr=0.5, momentum=0.9)
    return functools.partial(
        GRU4Rec, optimizer=optimizer, lr_scheduler=scheduler, lr_scheduler_interval=interval
    )


PLATEAU = functools.partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", patience=0, factor=0.5)
WARM_UP = functools.partial(
    SequentialLR,
    schedulers=[
        functools.partial(LinearLR, start_factor=0.2, total_iters=2),
        functools.partial(
            ChainedScheduler,
            schedulers=[
                functools.partial(CosineAnnealingLR, T_max=9),
                functools.partial(StepLR, step_size=2),
            ],
        ),
    ],
    milestones=[2],
)
MODELS = {
    "adam": functools.partial(GRU4Rec, optimizer=functools.partial(Adam, lr=0.05)),
    "thresholds of users": functools.partial(
        GRU4Rec, loss=SLAtKLoss(0.3, 0.2, 5, refresh_epochs=2), optimizer=functools.partial(SGD, lr=0.5)
    ),
    "epoch": given(functools.partial(ExponentialLR, gamma=0.7)),
    "step": given(functools.partial(StepLR, step_size=2, gamma=0.9), "step"),
    "cyclic": given(functools.partial(CyclicLR, base_lr=0.1, max_lr=0.6, step_size_up=3), "step"),
    "warm-up by epoch": given(WARM_UP),
    "warm-up by step": given(WARM_UP, "step"),
    "plateau": given(
        functools.partial(ReduceLROnPlateau, monitor=RECALL, mode="max", patience=0, factor=0.5)
    ),
    "plateau of the loss": given(functools.partial(ReduceLROnPlateau, monitor="train/loss", patience=0)),
    "plateau of a mean": functools.partial(
        Logging,
        optimizer=functools.partial(SGD, lr=0.5),
        lr_scheduler=functools.partial(ReduceLROnPlateau, monitor="train/mean_epoch", patience=0),
    ),
    "every second epoch": own(functools.partial(StepLR, step_size=1, gamma=0.5), frequency=2),
    "every third step": own(functools.partial(StepLR, step_size=1, gamma=0.5), interval="step", frequency=3),
    "plateau, second epoch": own(PLATEAU, monitor=RECALL, frequency=2),
    "plateau of steps": own(PLATEAU, monitor="train/loss", interval="step", frequency=2),
}
CALLBACKS = {
    "stopping": lambda: [EarlyStopping(RECALL, mode="max", patience=2)],
    "stopping at validation": lambda: [
        EarlyStopping(RECALL, mode="max", patience=9, check_on_train_epoch_end=False)
    ],
    "averages": lambda: [EMAWeightAveraging(decay=0.8)],
    "averages of epochs": lambda: [EMAWeightAveraging(decay=0.8, update_starting_at_epoch=1)],
    "stochastic averages": lambda: [StochasticWeightAveraging(0.2, swa_epoch_start=2, annealing_epochs=3)],
    "accumulation by epoch": lambda: [GradientAccumulationScheduler({0: 1, 1: 2, 2: 3})],
    "schedule": lambda: [CROLossCallback(temperature=Linear(0.4, 0.1, 2, 9))],
}


def built(kind):
    torch.manual_seed(3)
    return MODELS[kind](40, embedding_dim=4, ns=(5, 10), negatives=UniformNegatives(20))


def checkpoints(folder):
    """Save at every moment at which Lightning does; the name says which."""
    shared = {"save_top_k": -1, "auto_insert_metric_name": False}
    return [
        ModelCheckpoint(folder, "step-{step}", every_n_train_steps=3, **shared),
        ModelCheckpoint(folder, "val-{step}", save_on_train_epoch_end=False, **shared),
        ModelCheckpoint(
            folder, "end-{step}", monitor="val/recall@10", mode="max", save_on_train_epoch_end=True, **shared
        ),
        ModelCheckpoint(folder, "best", monitor=RECALL, mode="max", save_last=True),
    ]


def data(batch_size=BATCH):
    return ClusteredData(batch_size=batch_size, eval_batch_size=32)


def run(folder, kind, callbacks, ckpt_path=None, batch_size=BATCH, **options):
    watch, model = Watch(), built(kind)
    everything = [watch, *(CALLBACKS[callbacks]() if callbacks else []), *checkpoints(folder)]
    trainer = fit(
        model,
        data(batch_size),
        callbacks=everything,
        enable_checkpointing=True,
        ckpt_path=ckpt_path,
        **{"max_epochs": 3, **options},
    )
    return trainer, model, watch


def states(trainer, best=True):
    kept = {}
    for callback in trainer.callbacks:
        if isinstance(callback, ModelCheckpoint):
            if not best:
                continue
            kept[callback.state_key] = [callback.best_model_score, callback.current_score]
        elif callback.state_dict():
            kept[callback.state_key] = callback.state_dict()
    return kept


def assert_same(whole, resumed, where, best=True):
    ours = resumed[1].state_dict()
    for name, value in whole[1].state_dict().items():
        assert torch.equal(ours[name], value), (where, name)
    seen, expected = resumed[2].seen, whole[2].seen
    assert seen == {key: expected[key] for key in seen}, where
    left = [key for key in expected if key not in seen]
    last = list(expected)
    assert left == last[: len(left)], (where, "something was left out")
    assert str(states(resumed[0], best)) == str(states(whole[0], best)), where
    for one, other in zip(resumed[0].optimizers, whole[0].optimizers, strict=True):
        assert str(one.state_dict()) == str(other.state_dict()), where
    assert {k: float(v) for k, v in resumed[0].callback_metrics.items()} == {
        k: float(v) for k, v in whole[0].callback_metrics.items()
    }, where


def check(tmp_path, kind, callbacks, options, moments=("step", "val", "end")):
    """Resume from the second checkpoint of each moment, and from the last."""
    whole = run(tmp_path / "whole", kind, callbacks, **options)
    for moment in (*moments, "last"):
        found = sorted((tmp_path / "whole").glob(f"{moment}*.ckpt"), key=lambda path: global_step(path))
        path = found[min(1, len(found) - 1)]
        if global_step(path) < whole[0].global_step:
            resumed = run(tmp_path / path.stem, kind, callbacks, str(path), **options)
            assert_same(whole, resumed, path.stem)


def global_step(path):
    return int(torch.load(path, weights_only=True, mmap=True)["global_step"])

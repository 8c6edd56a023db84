"""Whole training steps by the trainer: how many a second, and for how much of the time the device is idle."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

import lightning.pytorch as pl
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.common.rows import Row, Settings
from benchmarks.gpu.data import SyntheticData
from benchmarks.gpu.timing import covered, synchronize
from lightning_croloss import SASRec, UniformNegatives, YouTubeDNN

MODELS: dict[str, Any] = {"YouTubeDNN": YouTubeDNN, "SASRec": SASRec}


class Watch(pl.Callback):
    """Times the steps between two, with the device's work done at both; with a profiler it counts kernels.

    Args:
        begin: the step before which the time begins.
        end: the step before which it ends.
        device: "cuda" or "cpu".
        profiled: whether to note when the device works; the profiler slows the processor down, so that the
            seconds of a profiled run are not those of a step.
    """

    def __init__(self, begin: int, end: int, device: str, profiled: bool) -> None:
        self.begin, self.end, self.device = begin, end, device
        self.seconds = 0.0
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
        self.profiler = profile(activities=activities) if profiled else None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start or stop the clock."""
        if batch_idx not in (self.begin, self.end):
            return
        synchronize(self.device)
        if self.profiler is not None:
            (self.profiler.start if batch_idx == self.begin else self.profiler.stop)()
        self.seconds = time.perf_counter() - self.seconds

    @property
    def busy_seconds(self) -> float | None:
        """For how long the device worked; None if nothing was recorded on one."""
        if self.profiler is None:
            return None
        intervals = [
            (event.time_range.start, event.time_range.end)
            for event in self.profiler.events() or []
            # the ranges of annotations reach over the pauses between kernels
            if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
        ]
        return covered(intervals) / 1e6 if intervals else None


def measure(settings: Settings) -> Row:
    """Return the milliseconds of a step; profiled, those in which the device works."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    pl.seed_everything(0, verbose=False)
    device, steps = settings["device"], settings["steps"]
    data = SyntheticData(settings["users"], settings["items"], settings["events"], settings["B"])
    model = MODELS[settings["model"]](
        num_items=settings["items"],
        embedding_dim=settings["D"],
        negatives=UniformNegatives(settings["negatives"]),
        ns=(50,),
    )
    watch = Watch(settings["warm_up"], settings["warm_up"] + steps, device, settings["profiled"])
    trainer = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision=settings["precision"],
        max_steps=settings["warm_up"] + steps + 1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    if settings["profiled"]:
        busy = watch.busy_seconds
        return {"busy ms": None if busy is None else 1000 * busy / steps}
    return {"ms": 1000 * watch.seconds / steps}

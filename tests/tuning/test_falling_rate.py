"""A learning rate that falls to none over the last steps of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from lightning_croloss.tuning.by_the_clock import NEVER, ByTheClock
from lightning_croloss.tuning.falling_rate import FallingRate
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.segment import train_segment
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model
from tests.tuning.cases import retrieval_model


class Rates(Callback):
    """Notes the rate of each step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.found.append(trainer.optimizers[0].param_groups[0]["lr"])


def train(
    folder: Path, steps: int, falling: tuple[int, int] | None, resume: Path | None = None
) -> tuple[LightningModule, list[float]]:
    """Train up to a step; return the model, and the rate of each step."""
    seed_everything(0, verbose=False)
    rates = Rates()
    clock = ByTheClock(1e9, Objective("recall", {10: 1.0}), steps=steps, settles=falling is None)
    callbacks = [clock, *([] if falling is None else [FallingRate(*falling)]), rates]
    trainer = quiet_trainer(
        folder,
        max_epochs=NEVER,
        val_check_interval=NEVER,
        check_val_every_n_epoch=None,
        callbacks=callbacks,
        enable_checkpointing=False,
    )
    model = small_model()
    train_segment(
        trainer,
        model,
        ClusteredData(),
        step=None,
        save=folder / f"{steps}.ckpt",
        resume=resume,
        until=lambda: clock.over,
    )
    return model, rates.found


def test_it_falls_to_none_along_a_line(tmp_path: Path) -> None:
    _, rates = train(tmp_path, 10, (6, 10))
    first = rates[0]
    assert first > 0
    assert rates == pytest.approx([first] * 7 + [first * left for left in (0.75, 0.5, 0.25)])


def test_a_fit_that_is_taken_up_has_the_same_rates_and_weights(tmp_path: Path) -> None:
    whole, rates = train(tmp_path / "whole", 9, (5, 9))
    _, before = train(tmp_path, 5, None)
    parts, after = train(tmp_path, 9, (5, 9), tmp_path / "5.ckpt")
    assert before + after == rates
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_steps_beyond_the_end_change_nothing(tmp_path: Path) -> None:
    _, rates = train(tmp_path, 8, (2, 6))
    assert rates[-2:] == [0.0, 0.0]


def test_two_schedules_of_one_rate_are_refused(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, max_epochs=1, callbacks=[FallingRate(0, 9)])
    with pytest.raises(ValueError, match="the model has an lr_scheduler"):
        trainer.fit(retrieval_model(), ClusteredData())

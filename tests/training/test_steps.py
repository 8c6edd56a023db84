"""The number of steps of a training, against the steps that it really makes."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from lightning_croloss.training import steps_in_all
from tests.data_for_tests import fit, small_model


class Counting(Callback):
    """Asks for the number of steps when optimizers are built, and when training begins."""

    def __init__(self) -> None:
        self.told: list[int | None] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.told.append(steps_in_all(trainer))

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.told.append(steps_in_all(trainer))


@pytest.mark.parametrize(
    "options",
    [{"max_epochs": 4}, {"max_epochs": 4, "limit_train_batches": 7}, {"max_steps": 9, "max_epochs": 3}],
    ids=["epochs", "a rest of batches", "max_steps"],
)
@pytest.mark.parametrize(
    "scheduling",
    [{0: 1, 2: 4}, {0: 4, 1: 1}, {1: 4}, {0: 2, 1: 3, 3: 1}, {9: 2}, None],
    ids=["more", "fewer", "from the second", "three", "too late", "none"],
)
def test_it_is_the_number_of_steps_made(scheduling: dict[int, int] | None, options: dict[str, Any]) -> None:
    counting = Counting()
    changing = [] if scheduling is None else [GradientAccumulationScheduler(dict(scheduling))]
    trainer = fit(small_model(), callbacks=[counting, *changing], limit_val_batches=0, **options)
    assert counting.told == [trainer.global_step] * 2


def test_an_end_by_steps_alone_is_that_number() -> None:
    counting = Counting()
    trainer = fit(
        small_model(),
        callbacks=[counting, GradientAccumulationScheduler({0: 1, 1: 4})],
        max_epochs=-1,
        max_steps=12,
        limit_val_batches=0,
    )
    assert counting.told == [12, 12]
    assert trainer.global_step == 12


def test_the_last_of_two_callbacks_has_the_last_word() -> None:
    counting = Counting()
    both = [GradientAccumulationScheduler({0: 5}), GradientAccumulationScheduler({1: 2})]
    trainer = fit(small_model(), callbacks=[counting, *both], max_epochs=2, limit_val_batches=0)
    assert counting.told == [trainer.global_step] * 2 == [15, 15]

"""Fits that validate and end by the clock."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_croloss.tuning.by_the_clock import NEVER, ByTheClock, is_settled
from lightning_croloss.tuning.objective import Objective
from lightning_croloss.tuning.segment import train_segment
from tests.data_for_tests import ClusteredData, quiet_trainer
from tests.tuning.cases import retrieval_model


@pytest.mark.parametrize(
    ("values", "epoch", "settled"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.4, 0.4], 1, False),
        ([0.5, 0.4, 0.4, 0.5], 1, True),
        ([0.5, 0.4, 0.4, 0.5], 50, False),  # an epoch has not been seen since
        ([0.5, 0.4, 0.6, 0.5, 0.5], 1, False),
        ([0.1, 0.2, 0.3, 0.4], 1, False),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.4, 0.4], 1, False),  # most of the time it gained
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.4, 0.4, 0.4], 1, True),
        ([0.5, 0.5001, 0.5002, 0.5003], 1, True),
        ([float("-inf"), 0.1, 0.2, 0.3], 1, False),
        ([0.0, 0.0, 0.0, 0.0], 1, True),
    ],
)
def test_when_nothing_is_gained_any_more(values: list[float], epoch: int, settled: bool) -> None:
    validations = [(10 * number, value) for number, value in enumerate(values, start=1)]
    assert is_settled(validations, epoch) is settled


def fit(folder: Path, seconds: float, resume: Path | None = None, **more: Any) -> tuple[ByTheClock, Any]:
    """Train for a time by a clock that goes on by a second with each look."""
    ticks: Iterator[int] = iter(range(10**6))
    clock = ByTheClock(seconds, Objective("recall", {10: 1.0}), clock=lambda: next(ticks), **more)
    trainer = quiet_trainer(
        folder,
        max_epochs=NEVER,
        val_check_interval=NEVER,
        check_val_every_n_epoch=None,
        callbacks=[clock],
        enable_checkpointing=False,
    )
    outcome = train_segment(
        trainer,
        retrieval_model(),
        ClusteredData(),
        step=None,
        save=folder / f"{seconds:g}.ckpt",
        resume=resume,
        until=lambda: clock.over,
    )
    return clock, outcome


def test_it_ends_in_time_with_a_validation_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_croloss.tuning.by_the_clock.PATIENCE", 99)
    clock, outcome = fit(tmp_path, 40.0)
    assert not outcome.finished
    assert outcome.validations[-1].step == outcome.step
    assert not outcome.validations[-1].apart
    steps = [step for step, _ in clock.validations]
    assert steps == [each.step for each in outcome.validations]
    assert 30 < outcome.step <= 40  # a step a second, and the validations
    gaps = [later - earlier for earlier, later in itertools.pairwise(steps)]
    assert min(gaps[1:]) >= 4  # of a validation a second long
    assert gaps[-1] > gaps[1]
    assert (tmp_path / "40.ckpt").exists()


def test_no_time_trains_a_step_and_validates(tmp_path: Path) -> None:
    clock, outcome = fit(tmp_path, -1.0)
    assert outcome.step == 1
    assert len(clock.validations) == 1


def test_a_slow_beginning_has_its_time_of_training(tmp_path: Path) -> None:
    _, short = fit(tmp_path, -1.0, latest=1e3, began=-20.0)
    assert 15 <= short.step <= 20
    _, shorter = fit(tmp_path / "more", -1.0, latest=9.0, began=-20.0)
    assert 5 <= shorter.step <= 9


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    first, outcome = fit(tmp_path, 20.0)
    second, later = fit(
        tmp_path, 30.0, tmp_path / "20.ckpt", trained=first.trained, validations=first.validations
    )
    assert later.step > outcome.step
    assert second.validations[: len(first.validations)] == first.validations


def test_it_ends_early_once_it_gains_nothing(tmp_path: Path) -> None:
    never_again = [(-9, 9.0), (-5, 1.0), (-3, 1.0)]
    clock, outcome = fit(tmp_path, 1e5, validations=never_again)
    assert clock.settled
    assert 1 <= outcome.step <= 9
    assert not outcome.finished


def test_it_ends_after_so_many_steps_in_all(tmp_path: Path) -> None:
    _, outcome = fit(tmp_path, 1e5, steps=7)
    assert outcome.step == 7
    assert not outcome.validations[-1].apart
    _, later = fit(tmp_path, 2e5, tmp_path / "100000.ckpt", steps=12)
    assert later.step == 12

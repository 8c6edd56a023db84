"""The length of a fit whose steps take another number of batches in later epochs."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging

from lightning_croloss.tuning.length import measure_length
from tests.data_for_tests import ClusteredData, fit, quiet_trainer, small_model


class Batches(Callback):
    def __init__(self) -> None:
        self.number = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.number += 1


@pytest.mark.parametrize("steps", [3, 10, 12, 13, 17])
@pytest.mark.parametrize("scheduling", [{0: 1, 1: 4}, {0: 3, 1: 1}], ids=["more", "fewer"])
def test_batches_of_max_steps_are_counted_as_they_come(scheduling: dict[int, int], steps: int) -> None:
    options: dict[str, Any] = {"max_epochs": -1, "max_steps": steps}
    counting = Batches()
    fit(
        small_model(),
        callbacks=[counting, GradientAccumulationScheduler(dict(scheduling))],
        limit_val_batches=0,
        **options,
    )
    trainer = quiet_trainer(
        callbacks=[GradientAccumulationScheduler(dict(scheduling))], val_check_interval=1, **options
    )
    assert measure_length(trainer, small_model(), ClusteredData()).steps == counting.number


def test_averages_that_no_search_would_keep_are_told() -> None:
    trainer = quiet_trainer(callbacks=[StochasticWeightAveraging(0.01)], max_epochs=2)
    with pytest.warns(UserWarning, match="its model will not be averaged"):
        measure_length(trainer, small_model(), ClusteredData())

"""Shorter fits of ``croloss tune --minutes``: as long as is said, and validated at least once."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_croloss.cli.tune.shorter import shortened
from lightning_croloss.tuning.length import measure_length
from lightning_croloss.tuning.plan import FitLength
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model

pytestmark = pytest.mark.filterwarnings("ignore")


def measured(options: dict[str, Any]) -> FitLength:
    return measure_length(quiet_trainer(**options), small_model(), ClusteredData())


@pytest.mark.parametrize("share", [0.001, 0.05, 0.3, 0.62, 0.99])
@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 10},
        {"max_epochs": 10, "check_val_every_n_epoch": 4},
        {"max_epochs": 10, "check_val_every_n_epoch": 10},
        {"max_epochs": 10, "check_val_every_n_epoch": 5, "val_check_interval": 0.5},
        {"max_epochs": 2, "val_check_interval": 0.3},
        {"max_epochs": 2, "val_check_interval": 3},
        {"max_epochs": 10, "check_val_every_n_epoch": None, "val_check_interval": 7},
        {"max_epochs": 10, "accumulate_grad_batches": 3, "check_val_every_n_epoch": 4},
        {"max_epochs": -1, "max_steps": 20, "check_val_every_n_epoch": 3},
        {"max_epochs": -1, "max_steps": 20, "accumulate_grad_batches": 3},
        {"max_epochs": 4, "max_steps": 20},
    ],
    ids=str,
)
def test_a_shorter_fit_is_as_long_as_is_said_and_validates(options: dict[str, Any], share: float) -> None:
    whole = measured(options)
    fields, said = shortened({"trainer": options}, whole, share)
    found = measured(options | fields)
    assert found == said
    assert bool(found.validations) == bool(whole.validations)
    assert found.steps <= max(share * whole.steps, 1)

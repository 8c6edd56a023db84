"""Weights of events reach a loss as they are, or all times the same power of two."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_croloss.data import Interactions
from lightning_croloss.data.interactions import Share
from lightning_croloss.data.weight_scale import weight_scale
from tests.data_for_tests import ClusteredData, quiet_trainer

FLOAT32 = st.floats(0.0, float(torch.finfo(torch.float32).max), width=32)


class WeightedData(ClusteredData):
    """Users whose events weigh 32,000 (times a factor), and a few that weigh more."""

    factor = 1.0

    def load(self) -> Interactions:
        data = super().load()
        weights = torch.where(torch.arange(len(data)) % 97 == 0, 33_000.0, 32_000.0)
        return replace(data, weights=weights * self.factor)


def batches(data: WeightedData, precision: Any = "32-true") -> list[torch.Tensor]:
    """Return the weights of all batches, as a training in this precision is given them."""
    data.trainer = quiet_trainer(precision=precision)
    plugin = data.trainer.precision_plugin
    return [plugin.convert_input(batch).sample_weight for batch in data.train_dataloader()]


@given(FLOAT32, st.booleans())
def test_the_largest_comes_into_range_by_a_power_of_two(largest: float, half: bool) -> None:
    scale = weight_scale(largest, half)
    assert math.frexp(scale)[0] == 0.5
    scaled = torch.tensor(largest) * scale
    assert float(scaled) == largest * scale  # exact in float32
    if half:
        assert largest < 2.0**-130 or largest == 0 or 2.0**-8 <= scaled.half() <= 2.0**15
    else:
        assert largest < 2.0**-130 or largest == 0 or 2.0**-64 <= scaled <= 2.0**64
    if 2.0**-8 <= largest < 2.0**15:
        assert scale == 1.0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("factor", [2.0**-40, 2.0**-30, 1.0, 2.0**10])
def test_weights_of_a_batch_are_those_of_the_data(factor: float, precision: Any) -> None:
    data = WeightedData()
    data.factor = factor
    for weight in batches(data, precision):
        assert torch.isin(weight, torch.tensor([32_000.0, 33_000.0]) * factor).all()


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**-30, 1.0, 2.0**10])
def test_in_float16_all_batches_have_the_same_scale(factor: float) -> None:
    data = WeightedData()
    data.factor = factor
    found = torch.cat(batches(data, "16-true"))
    assert found.dtype == torch.float16
    usual, large = found.unique().tolist()
    assert large / usual == pytest.approx(33 / 32, abs=1e-3)


def test_all_processes_have_the_same_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    # the other process has a weight that is so large that it is brought down to 2**64, this one has none
    monkeypatch.setattr(
        "lightning_croloss.data.datamodule.said_by_all",
        lambda value: [value, 2.0**100 if isinstance(value, float) else value],
    )
    data = WeightedData()
    share = Share(torch.arange(data.num_users + 1), data.num_users)
    data.__dict__["interactions"] = replace(data.interactions, share=share)
    weights = [batch.sample_weight for batch in data.train_dataloader()]
    assert torch.isin(torch.cat(weights), torch.tensor([32_000.0, 33_000.0]) * 2.0**-37).all()

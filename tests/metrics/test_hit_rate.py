"""HitRate by hand."""

import pytest
import torch

from lightning_croloss.metrics import HitRateAtN


def test_values_by_hand() -> None:
    metric = HitRateAtN(ns=(1, 10))
    metric.update(torch.tensor([[1, 7, 30], [2, 0, 0]]))
    assert [value.item() for value in metric.compute().values()] == pytest.approx((1 / 2, 1.0), abs=1e-9)

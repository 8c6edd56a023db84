"""MRR by hand."""

import pytest
import torch

from lightning_croloss.metrics import MRRAtN


def test_values_by_hand() -> None:
    metric = MRRAtN(ns=(1, 10))
    metric.update(torch.tensor([[1, 7, 30], [2, 0, 0]]))
    assert [value.item() for value in metric.compute().values()] == pytest.approx((1 / 2, 3 / 4), abs=1e-9)

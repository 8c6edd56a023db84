"""NDCG by hand."""

import math

import pytest
import torch

from lightning_croloss.metrics import NDCGAtN


def test_values_by_hand() -> None:
    metric = NDCGAtN(ns=(1, 10))
    metric.update(torch.tensor([[1, 7, 30], [2, 0, 0]]))
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert [value.item() for value in metric.compute().values()] == pytest.approx(
        (1 / 2, ((1 + 1 / 3) / ideal + 1 / math.log2(3)) / 2), abs=1e-9
    )

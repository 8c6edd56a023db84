"""Exact products, and the same draws for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def float32_without_tf32() -> Iterator[None]:
    """TF32 would keep ten bits of each factor: neither ranks nor ties would be those of float32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False  # of recurrent layers and convolutions
    torch.manual_seed(0)
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]

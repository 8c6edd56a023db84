"""Where the tests of this folder run, and how large their data is there."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.data.batch import RetrievalBatch

#: "cuda" where there is a GPU, else "cpu"; ``CROLOSS_TEST_DEVICE`` decides otherwise.
DEVICE = os.environ.get("CROLOSS_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE != "cpu"
#: What a trainer needs to work there.
TRAINER: dict[str, Any] = {"accelerator": "gpu" if ON_GPU else "cpu", "devices": 1}


def sized(large: int, small: int) -> int:
    """Return the first size on a GPU and the second on the CPU, where the suite has no time."""
    return large if ON_GPU else small


def on_device(value: Tensor) -> Tensor:
    """Return a copy of a tensor on the device of the tests, detached."""
    return value.detach().to(DEVICE, copy=True)


def is_on_device(value: Tensor) -> bool:
    """Tell whether a tensor is on the device of the tests."""
    return value.device.type == torch.device(DEVICE).type


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference by the norm of what is expected, in float64 on the CPU."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


def training_batch(data: RetrievalDataModule) -> RetrievalBatch:
    """Return the first training batch of a data module, on the device of the tests."""
    return next(iter(data.train_dataloader())).to(DEVICE)

"""What the constructors of losses and importances check and keep."""

from __future__ import annotations

import torch
from torch import Tensor


def scheduled_value(value: float) -> Tensor:
    """Make the scalar that holds a schedulable value (see ``RetrievalLoss.schedulable``)."""
    # whatever device or mode a model is built under: a schedule changes it while training, on the CPU
    with torch.inference_mode(False):
        return torch.tensor(float(value), dtype=torch.float64, device="cpu")


def check_temperature(temperature: float, name: str = "temperature") -> float:
    """Return ``temperature`` if it is a positive finite number, else raise ``ValueError``."""
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"{name} must be a positive number, got {temperature}")
    return float(temperature)


def check_rank_scaling(rank_scaling: str) -> str:
    """Return ``rank_scaling`` if it is one of the two, else raise ``ValueError``."""
    if rank_scaling not in ("reference", "unbiased"):
        raise ValueError(f'rank_scaling must be "reference" or "unbiased", got {rank_scaling!r}')
    return rank_scaling


def check_positive_scale(positive_scale: float) -> float:
    """Return ``positive_scale`` if it is a positive finite number, else raise ``ValueError``."""
    if not 0.0 < positive_scale < float("inf"):
        raise ValueError(f"positive_scale must be a positive number, got {positive_scale}")
    return float(positive_scale)

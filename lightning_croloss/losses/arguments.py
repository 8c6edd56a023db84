"""What the constructors of losses and importances check and keep."""

from __future__ import annotations

import torch
from torch import Tensor

#: Scores of any size can be divided by these, and stay what they are in float32.
SMALLEST_TEMPERATURE, LARGEST_TEMPERATURE = 1e-12, 1e12


def scheduled_value(value: float) -> Tensor:
    """Make the scalar that holds a schedulable value (see ``RetrievalLoss.schedulable``)."""
    # whatever device or mode a model is built under: a schedule changes it while training, on the CPU
    with torch.inference_mode(False):
        return torch.tensor(float(value), dtype=torch.float64, device="cpu")


def check_temperature(temperature: float | Tensor, name: str = "temperature") -> float:
    """Return a temperature as a number.

    Raises:
        TypeError: it is no number.
        ValueError: it is not positive, or too far from 1 for scores in float32 to be divided by it.
    """
    value = _positive_number(temperature, name)
    if not SMALLEST_TEMPERATURE <= value <= LARGEST_TEMPERATURE:
        raise ValueError(
            f"{name} must be from {SMALLEST_TEMPERATURE:g} to {LARGEST_TEMPERATURE:g}, beyond which scores "
            f"in float32 cannot be divided by it, got {value:g}"
        )
    return value


def check_rank_scaling(rank_scaling: str) -> str:
    """Return ``rank_scaling`` if it is one of the two, else raise ``ValueError``."""
    if rank_scaling not in ("reference", "unbiased"):
        raise ValueError(f'rank_scaling must be "reference" or "unbiased", got {rank_scaling!r}')
    return rank_scaling


def check_positive_scale(positive_scale: float) -> float:
    """Return ``positive_scale`` as a number.

    Raises:
        TypeError: it is no number.
        ValueError: it is not positive and finite.
    """
    return _positive_number(positive_scale, "positive_scale")


def _positive_number(given: float | Tensor, name: str) -> float:
    if isinstance(given, Tensor) and given.numel() != 1:
        raise ValueError(f"{name} must be one number, got a tensor {tuple(given.shape)}")
    if isinstance(given, (bool, str)) or not hasattr(given, "__float__"):
        raise TypeError(f"{name} must be a positive number, got {given!r}")
    value = float(given)
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name} must be a positive number, got {value}")
    return value

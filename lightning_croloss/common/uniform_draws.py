"""Draws from [0, 1) that are compared with a probability, or with one another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform_draws(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return draws of a shape in float32, whatever the default type is.

    With ``precision: bf16-true`` that is bfloat16, whose numbers are so far apart there that a probability of
    0.001 would be one of 0.003, and that many draws would be equal.
    """
    return torch.rand(shape, dtype=torch.float32, device=device)

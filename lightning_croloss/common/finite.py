"""Whether weights are numbers, and what is said if they are not."""

from __future__ import annotations

import torch
from torch import Tensor


def is_finite(tensor: Tensor) -> bool:
    """Tell whether no number is NaN or infinite, without a copy; true of what has no values."""
    if tensor.is_meta or tensor.numel() == 0:
        return True
    return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor.detach()))


def not_finite(where: str, name: str) -> str:
    """Return what is told of weights that are not: the file, and which."""
    return (
        f"{where} cannot be used: {name!r} holds NaN or infinite weights; the file is damaged, or its "
        "training had diverged: take an earlier checkpoint"
    )

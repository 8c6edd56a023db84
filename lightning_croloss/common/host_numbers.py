"""Numbers of the host brought to a device as arguments of kernels: a copy would wait for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def scalar_beside(value: Tensor, like: Tensor) -> Tensor:
    """Return a number () in the type of ``like`` and where it is."""
    value = value.to(like.dtype)
    return value if value.device == like.device else like.new_zeros(()) + value


def numbers_beside(values: Sequence[float], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a few numbers (n,), at least one, where ``like`` is, and in its type or another."""
    return torch.cat([like.new_full((1,), value, dtype=dtype) for value in values])

"""Vectors of unit length, in half precision too."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

HALF = (torch.float16, torch.bfloat16)
#: Its inverse, which the gradient of a vector of zeros is multiplied by, is within the range of float16.
_EPS_OF_FLOAT16 = 1e-4


def unit_length(vectors: Tensor) -> Tensor:
    """Return vectors (..., D) of length 1 in their own type, zeros as zeros.

    Computed in float32 at least: in float16 the bound that keeps zeros from a division by zero is 0 itself.
    Under autocast the result of half precision stays in float32, as autocast has it on accelerators.
    """
    if vectors.dtype not in HALF:
        return functional.normalize(vectors, dim=-1)
    found = functional.normalize(vectors.float(), dim=-1, eps=least_length(vectors.dtype))
    return found if torch.is_autocast_enabled(vectors.device.type) else found.to(vectors.dtype)


def least_length(dtype: torch.dtype) -> float:
    """Return the length that vectors of a type count as at least where they are divided by it."""
    return _EPS_OF_FLOAT16 if dtype == torch.float16 else 1e-12

"""The hinge kernel, that of the triplet loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.kernels.base import Kernel


class HingeKernel(Kernel):
    """``max(0, d / τ + margin)``: with α = 0 the loss is the triplet loss summed over the negatives."""

    name = "hinge"
    always_printed = ("margin",)

    def __init__(self, margin: float = 0.5) -> None:
        if not math.isfinite(margin) or margin <= 0:
            raise ValueError(f"margin must be a positive number, got {margin}")
        self.margin = float(margin)

    def value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return max(0, d / τ + margin)."""
        return functional.relu(difference / temperature + self.margin)

    def value_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write max(0, x + margin)."""
        torch.add(x, self.margin, out=out).clamp_(min=0.0)

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write 1 where φ is positive."""
        out.sign_()

"""The softplus kernel, that of BPR."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.kernels.base import Kernel


class SoftplusKernel(Kernel):
    """``log(1 + exp(d / τ))``: with α = 0 the loss is BPR summed over the negatives."""

    name = "softplus"

    def value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return log(1 + exp(d / τ))."""
        return functional.softplus(difference / temperature)

    def log_value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return log φ, which is d / τ far to the left, where φ itself underflows."""
        x = difference / temperature
        return torch.where(x < -15.0, x, functional.softplus(x.clamp(min=-15.0)).log())

    def value_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write log(1 + exp x)."""
        if x.device.type == "cpu":  # the two operators take half as long as the one there
            torch.exp(x, out=out).log1p_()
            if math.isfinite(float(out.sum())):  # exp did not overflow
                return
        torch.ops.aten.softplus.out(x, out=out)

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write σ(x)."""
        torch.sigmoid(x, out=out)

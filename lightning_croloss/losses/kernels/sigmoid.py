"""The sigmoid kernel, the smooth step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.kernels.base import Kernel


class SigmoidKernel(Kernel):
    """``1 / (1 + exp(−d / τ))``: the smooth step, and the closest differentiable kernel to the real rank."""

    name = "sigmoid"
    bounded = True

    def value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return σ(d / τ)."""
        return torch.sigmoid(difference / temperature)

    def log_value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return log σ(d / τ)."""
        return functional.logsigmoid(difference / temperature)

    def value_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write σ(x)."""
        torch.sigmoid(x, out=out)

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write σ (1 − σ)."""
        one = torch.ones((), dtype=out.dtype, device=out.device).expand_as(out)
        torch.ops.aten.sigmoid_backward.grad_input(one, out, grad_input=out)

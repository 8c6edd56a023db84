"""The Heaviside kernel, the step itself."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.losses.kernels.base import Kernel


class HeavisideKernel(Kernel):
    """``1[d ≥ 0]``: the real rank. It has no gradient, so it serves only as the Lambda weight's kernel."""

    name = "heaviside"
    differentiable = False

    def value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return 1 where the negative scores at least as high as the positive."""
        return (difference >= 0).to(difference.dtype)

    def value_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write 1 where x ≥ 0."""
        torch.ge(x, 0.0, out=out)

"""FusedForm: what the fused path must know of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lightning_croloss.losses.kernels import Kernel


@dataclass(frozen=True)
class FusedForm:
    """A loss in the form that can be computed in tiles, ``mean(value(log R))``.

    ``log R = log(1 + inner · Σ_j u_j φ(d_j)) + log outer``, for each row.

    Attributes:
        kernel: φ.
        temperature: τ.
        weigh: from log R (b,), log R by ``lambda_kernel`` (b,) or None, and N, () or (b,), to the value and
            its slope in log R, (b,) both.
        lambda_kernel: ψ, by whose rank the slope is weighted; None = no Lambda method.
        log_inner: () or (B,) log of the inner scale; None = 1.
        log_outer: () or (B,) log of the outer scale; None = 1.
    """

    kernel: Kernel
    temperature: float
    weigh: Callable[[Tensor, Tensor | None, Tensor], tuple[Tensor, Tensor]]
    lambda_kernel: Kernel | None = None
    log_inner: Tensor | None = None
    log_outer: Tensor | None = None

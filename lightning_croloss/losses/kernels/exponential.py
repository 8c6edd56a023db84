"""The exponential kernel, that of softmax cross-entropy."""

from __future__ import annotations

from torch import Tensor

from lightning_croloss.losses.kernels.base import Kernel


class ExponentialKernel(Kernel):
    """``exp(d / τ)``: with α = 1 the loss is softmax cross-entropy."""

    name = "exp"
    sums_logarithms = True

    def value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return exp(d / τ), which may overflow; the loss works with :meth:`log_value`."""
        return self.log_value(difference, temperature).exp()

    def log_value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return d / τ."""
        return difference / temperature

    def log_value_(self, x: Tensor, out: Tensor, temperature: float) -> Tensor:
        """Return x."""
        return x

    @property
    def is_own_slope(self) -> bool:
        """Whether φ is its own slope: unless a subclass has another one."""
        return type(self).slope_ is ExponentialKernel.slope_

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Leave ``out``: exp is its own slope."""

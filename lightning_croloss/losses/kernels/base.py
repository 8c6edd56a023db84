"""Kernel: what every comparison kernel offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_croloss.common.printed_call import PrintedCall
from lightning_croloss.configurable import Configurable

#: A difference or logarithm far below any other: no kernel has value or slope left there.
FAR_BELOW = -1e30


class Kernel(PrintedCall, Configurable, ABC):
    """A comparison kernel φ(d; τ).

    Attributes:
        name: the name in a config file.
        sums_logarithms: whether φ grows so fast that its sum must be taken by logsumexp of :meth:`log_value`.
        bounded: whether φ is flat on both sides, so that scores far apart have no gradient.
        differentiable: whether φ can be trained through (all but the step).
    """

    name: str
    sums_logarithms = False
    bounded = False
    differentiable = True

    @property
    def is_own_slope(self) -> bool:
        """Whether φ is its own slope, so that :meth:`slope_` leaves everything as it is."""
        return False

    @abstractmethod
    def value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return φ, of the shape of ``difference``; ``temperature`` is a scalar tensor."""

    def log_value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return log φ."""
        return self.value(difference, temperature).log()

    def width(self, temperature: float) -> float:
        """Return the width of the kernel: what differences are divided by before anything else."""
        return temperature

    def value_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write φ into ``out``, for the fused path.

        Args:
            x: (b, w) differences in units of the kernel's width; must not change.
            out: (b, w).
            temperature: τ.
        """
        out.copy_(self.value(x * self.width(temperature), _scalar(temperature, x)))

    def log_value_(self, x: Tensor, out: Tensor, temperature: float) -> Tensor:
        """Return log φ, finite everywhere, as x itself or in ``out``; used if ``sums_logarithms``."""
        logarithms = self.log_value(x * self.width(temperature), _scalar(temperature, x))
        return torch.clamp(logarithms, min=FAR_BELOW, out=out)

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Turn ``out``, which holds φ, into dφ/dx; x may change.

        If ``sums_logarithms``, ``out`` holds φ up to a factor for each row, which stays.
        """
        with torch.enable_grad():
            difference = (x * self.width(temperature)).detach().requires_grad_()
            form = self.log_value if self.sums_logarithms else self.value
            total = form(difference, _scalar(temperature, x)).sum()
        slope = torch.autograd.grad(total, difference)[0].mul_(self.width(temperature))
        if self.sums_logarithms:
            out.mul_(slope)
        else:
            out.copy_(slope)

    def check_temperature(self, temperature: float) -> None:
        """Raise ``ValueError`` if the kernel does not allow this temperature."""


def _scalar(temperature: float, like: Tensor) -> Tensor:
    return like.new_full((), temperature)

"""The kernels of Pairwise Softmax Loss (PSL)."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.kernels.base import FAR_BELOW, Kernel


class PairwiseSoftmaxKernel(Kernel):
    """``g(d / score_temperature) ** (1 / τ)``, of Pairwise Softmax Loss (Yang et al., NeurIPS 2024).

    PSL is ``CROLoss(kernel="psl_relu", alpha=1)``, or with another of these kernels. The positive's own term
    ``g(0) = 1`` is the 1 in the soft rank; the published code leaves it out.

    Args:
        score_temperature: what the score difference is divided by before g.
    """

    sums_logarithms = True
    always_printed = ("score_temperature",)

    def __init__(self, score_temperature: float = 2.0) -> None:
        if not 0.0 < score_temperature < math.inf:
            raise ValueError(f"score_temperature must be a positive number, got {score_temperature}")
        self.score_temperature = float(score_temperature)

    @abstractmethod
    def log_g(self, x: Tensor) -> Tensor:
        """Return log g(x), −∞ where g is 0, with a finite gradient everywhere."""

    def value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return g(d / score_temperature) ** (1 / τ)."""
        return self.log_value(difference, temperature).exp()

    def log_value(self, difference: Tensor, temperature: Tensor) -> Tensor:
        """Return log g(d / score_temperature) / τ."""
        return self.log_g(difference / self.score_temperature) / temperature

    @abstractmethod
    def log_g_slope(self, x: Tensor) -> Tensor:
        """Return the derivative of :meth:`log_g`, 0 where g is 0."""

    def width(self, temperature: float) -> float:
        """Return ``score_temperature``: the argument of g, not the power 1/τ, decides where φ is flat."""
        return self.score_temperature

    def log_value_(self, x: Tensor, out: Tensor, temperature: float) -> Tensor:
        """Write log g(x) / τ, cut at a large negative number."""
        return torch.div(self.log_g(x), temperature, out=out).clamp_(min=FAR_BELOW)

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Multiply by (log g)′(x) / τ."""
        out.mul_(self.log_g_slope(x).div_(temperature))

    def check_temperature(self, temperature: float) -> None:
        """Refuse τ > 1, for which the power is not a surrogate of the rank."""
        if temperature > 1.0:
            raise ValueError(f"kernel {self.name!r} needs a temperature of at most 1, got {temperature}")


class PSLTanhKernel(PairwiseSoftmaxKernel):
    """PSL with ``g(x) = 1 + tanh(x)``."""

    name = "psl_tanh"
    bounded = True

    def log_g(self, x: Tensor) -> Tensor:
        """Return log(1 + tanh x) = log 2σ(2x)."""
        return functional.logsigmoid(2.0 * x) + math.log(2.0)

    def log_value_(self, x: Tensor, out: Tensor, temperature: float) -> Tensor:
        """Write log(2 / (1 + exp(−2x))) / τ, by operators that take a third of logsigmoid's time."""
        torch.mul(x, -2.0, out=out).exp_().log1p_()  # ∞ where g is less than float can say
        return out.sub_(math.log(2.0)).mul_(-1.0 / temperature).clamp_(min=FAR_BELOW)

    def log_g_slope(self, x: Tensor) -> Tensor:
        """Return 2σ(−2x)."""
        return torch.sigmoid(-2.0 * x).mul_(2.0)


class PSLReluKernel(PairwiseSoftmaxKernel):
    """PSL with ``g(x) = max(0, 1 + x)``."""

    name = "psl_relu"

    def log_g(self, x: Tensor) -> Tensor:
        """Return log max(0, 1 + x)."""
        return _log_of_positive_part(1.0 + x)

    def log_g_slope(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + x) where that is positive."""
        return _reciprocal_of_positive_part(1.0 + x)


class PSLAtanKernel(PairwiseSoftmaxKernel):
    """PSL with ``g(x) = max(0, 1 + atan x)``, which is 0 for x < −tan 1."""

    name = "psl_atan"
    bounded = True

    def log_g(self, x: Tensor) -> Tensor:
        """Return log max(0, 1 + atan x)."""
        return _log_of_positive_part(1.0 + torch.atan(x))

    def log_g_slope(self, x: Tensor) -> Tensor:
        """Return 1 / ((1 + x²) (1 + atan x)) where that is positive."""
        return _reciprocal_of_positive_part(1.0 + torch.atan(x)).div_(1.0 + x * x)


def _reciprocal_of_positive_part(y: Tensor) -> Tensor:
    smallest = torch.finfo(y.dtype).tiny ** 0.5  # as in _log_of_positive_part
    return torch.where(y > smallest, y.clamp(min=smallest).reciprocal(), torch.zeros_like(y))


def _log_of_positive_part(y: Tensor) -> Tensor:
    # Below `smallest` a power 1/τ ≥ 1 of y is nothing to the 1 in the rank, while 1/y in the gradient would
    # overflow; there the value is −∞ and the gradient 0.
    smallest = torch.finfo(y.dtype).tiny ** 0.5
    return torch.where(y > smallest, y.clamp(min=smallest).log(), float("-inf"))

"""Comparison kernels φ: how much a negative that scores ``d = s_j − s₊`` more than the positive counts.

A kernel is increasing, non-negative and falls to 0 far to the left; the soft rank is
``1 + Σ_j u_j φ(d_j; τ)``. A new kernel is one class here: the registry :data:`KERNELS` hands it to all tests.
It works in the fused path as it is; in-place forms of φ and φ′ make it fast there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.configurable import Configurable

#: A difference or logarithm far below any other: no kernel has value or slope left there.
FAR_BELOW = -1e30


class Kernel(Configurable, ABC):
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

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Leave ``out``: exp is its own slope."""


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
        torch.ops.aten.softplus.out(x, out=out)

    def slope_(self, x: Tensor, out: Tensor, temperature: float) -> None:
        """Write σ(x)."""
        torch.sigmoid(x, out=out)


class HingeKernel(Kernel):
    """``max(0, d / τ + margin)``: with α = 0 the loss is the triplet loss summed over the negatives."""

    name = "hinge"

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


class PairwiseSoftmaxKernel(Kernel):
    """``g(d / score_temperature) ** (1 / τ)``, of Pairwise Softmax Loss (Yang et al., NeurIPS 2024).

    The positive's own term ``g(0) = 1`` is the 1 in the soft rank; the published code leaves it out.

    Args:
        score_temperature: what the score difference is divided by before g.
    """

    sums_logarithms = True

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
        """Refuse τ > 1, for which the power is no surrogate of the rank."""
        if temperature > 1.0:
            raise ValueError(f"kernel {self.name!r} needs a temperature of at most 1, got {temperature}")


class PSLTanhKernel(PairwiseSoftmaxKernel):
    """PSL with ``g(x) = 1 + tanh(x)``."""

    name = "psl_tanh"
    bounded = True

    def log_g(self, x: Tensor) -> Tensor:
        """Return log(1 + tanh x) = log 2σ(2x)."""
        return functional.logsigmoid(2.0 * x) + math.log(2.0)

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


def _scalar(temperature: float, like: Tensor) -> Tensor:
    return torch.tensor(temperature, dtype=like.dtype, device=like.device)


def _reciprocal_of_positive_part(y: Tensor) -> Tensor:
    smallest = torch.finfo(y.dtype).tiny ** 0.5  # as in log_of_positive_part
    return torch.where(y > smallest, y.clamp(min=smallest).reciprocal(), torch.zeros_like(y))


def _log_of_positive_part(y: Tensor) -> Tensor:
    # Below `smallest` a power 1/τ ≥ 1 of y is nothing to the 1 in the rank, while 1/y in the gradient would
    # overflow; there the value is −∞ and the gradient 0.
    smallest = torch.finfo(y.dtype).tiny ** 0.5
    return torch.where(y > smallest, y.clamp(min=smallest).log(), float("-inf"))


KERNELS: dict[str, type[Kernel]] = {
    kernel.name: kernel
    for kernel in (
        ExponentialKernel,
        SoftplusKernel,
        HingeKernel,
        SigmoidKernel,
        PSLTanhKernel,
        PSLReluKernel,
        PSLAtanKernel,
        HeavisideKernel,
    )
}

"""Whether the temperature suits the scores: the spread of d / τ, and whether gradients survive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.losses.kernels import ExponentialKernel, HingeKernel, Kernel, SoftplusKernel

#: A positive is badly ranked if so large a share of its negatives score above it.
_BADLY_RANKED = 0.1
#: Pull on a badly ranked positive, times τ, below which a bounded kernel is flat there: in a model that
#: has learned something, and before, when scores still change a lot.
_LEAST_PULL, _LEAST_PULL_AT_FIRST = 0.08, 0.03
#: Spread of a row's d/τ from which on the exp kernel hears of the highest negative alone.
_LARGEST_SPREAD = 7.5
#: The same of kernels that grow in proportion to d, of which large ones drown what is near the positive; and
#: where the sum of pairs is the loss, of which a rank takes no logarithm.
_LARGEST_LINEAR_SPREAD, _LARGEST_PAIRWISE_SPREAD = 30.0, 15.0
#: Spread of a row's d/τ below which all negatives weigh the same, in a model that has learned something.
_SMALLEST_SPREAD = 0.75
#: Largest |d| of cosines, and the temperatures that suit them.
_COSINES, _OF_COSINES = 2.0 + 1e-3, (0.03, 0.4)
#: Calls after which a model has learned something.
_LEARNED = 1_000


@dataclass(frozen=True)
class Comparison:
    """How a loss compares a negative with the positive.

    Attributes:
        kernel: φ.
        temperature: τ.
        pairwise: whether the loss is a sum over pairs, without a rank.
    """

    kernel: Kernel
    temperature: float
    pairwise: bool = False

    @torch.no_grad()
    def figures(self, differences: Tensor) -> Tensor:
        """Return the spread of d, the pull on badly ranked positives, their number, and the largest |d|.

        Args:
            differences: (B, M) ``s_j − s₊``, −∞ where the pair is ignored.
        """
        ignored = differences.isneginf()
        number = (~ignored).sum(1)
        d = differences.float().masked_fill(ignored, 0.0)
        mean = d.sum(1, keepdim=True) / number.clamp(min=1).unsqueeze(1)
        squares = (d - mean).masked_fill(ignored, 0.0).square().sum(1)
        spread = (squares / number.clamp(min=1)).sqrt()
        bad = ((differences >= 0).sum(1) > _BADLY_RANKED * number) & (number > 0)
        pull = self._pull(d / self.kernel.width(self.temperature), ignored)
        nan = torch.full_like(spread, float("nan"))
        return torch.stack(
            [
                spread.where(number > 1, nan).nanmedian(),
                pull.where(bad, nan).nanmedian(),
                bad.sum(),
                d.abs().max(),
            ]
        ).double()

    def _pull(self, x: Tensor, ignored: Tensor) -> Tensor:
        """Return Σ_j φ′(x_j) / (1 + Σ_j φ(x_j)) of each row, (B,): how much of its gradient is left."""
        out = torch.empty_like(x)
        if self.kernel.sums_logarithms:
            terms = self.kernel.log_value_(x, out, self.temperature).masked_fill(ignored, float("-inf"))
            total = terms.logsumexp(1)
            weights = torch.softmax(terms, 1).nan_to_num(0.0)
            self.kernel.slope_(x.clone(), weights, self.temperature)
            return weights.masked_fill(ignored, 0.0).sum(1) * torch.sigmoid(total)
        self.kernel.value_(x, out, self.temperature)
        total = out.masked_fill(ignored, 0.0).sum(1)
        self.kernel.slope_(x.clone(), out, self.temperature)
        return out.masked_fill(ignored, 0.0).sum(1) / (1.0 + total)

    def advice(self, found: list[float], calls: int) -> str | None:
        """Return what to say of the figures of a call, None if all is well.

        Args:
            found: what :meth:`figures` returned.
            calls: number of the call.
        """
        spread, pull, bad, largest = found
        if math.isnan(spread):  # no row with more than one negative
            return None
        relative = spread / self.temperature
        cosines = largest <= _COSINES
        low, high = _OF_COSINES
        begin = spread  # of d/τ 1, with which training begins well: see docs/loss.md
        if cosines:
            begin = min(max(begin, low), high)
        seen = f"the scores of a row's negatives spread over {relative:.3g} times the temperature, "
        remedy = "use cosine scores" + f", or a temperature of about {begin:.2g}" * (spread > 0)
        if cosines and low <= self.temperature <= high:
            return None
        least = _LEAST_PULL if calls >= _LEARNED else _LEAST_PULL_AT_FIRST
        if self.kernel.bounded and bad and pull < least:
            return (
                f"{seen}and where badly ranked positives are the kernel {self.kernel.name!r} is flat: "
                f"{pull:.2g} of their gradient is left; {remedy}"
            )
        if isinstance(self.kernel, ExponentialKernel) and relative > _LARGEST_SPREAD:
            return f"{seen}so that of all negatives the exponential hears the highest alone: {remedy}"
        linear = isinstance(self.kernel, (SoftplusKernel, HingeKernel))
        if linear and relative > (_LARGEST_PAIRWISE_SPREAD if self.pairwise else _LARGEST_LINEAR_SPREAD):
            return f"{seen}so that what lies near the positive counts for nothing: {remedy}"
        own_width = self.kernel.width(self.temperature) == self.temperature
        if own_width and calls >= _LEARNED and cosines and relative < _SMALLEST_SPREAD and spread > 0:
            return f"{seen}so that all weigh alike: use a temperature of about {begin:.2g}"
        return None

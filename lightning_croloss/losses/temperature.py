"""A temperature that is learned: ``τ = τ₀ · 10^tanh(p)``, with p a parameter that begins at 0.

A loss divides score differences by the constant τ₀. One that learns its temperature multiplies them by τ₀/τ
before (from embeddings: the users' vectors, which is the same), so that every path of computation, the fused
ones too, gives p its gradient and knows nothing of it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.unread_values import is_transformed
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.kernels import Kernel

#: The name of the parameter p in a loss, and so in checkpoints.
PARAMETER = "raw_temperature"
#: How many times larger or smaller than at the start the temperature can become.
RANGE = 10.0


class LearnableTemperature(nn.Module):
    """Mixin of losses: the parameter p, if there is one, and what it does to scores and vectors.

    Attributes:
        raw_temperature: the parameter p, (); None = the temperature is not learned.
        temperature: τ₀, () float64.
        diagnostics: where the current τ is kept.
    """

    raw_temperature: nn.Parameter | None
    temperature: Tensor
    diagnostics: dict[str, Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter(PARAMETER, None)

    def learn_temperature(self, *kernels: Kernel) -> None:
        """Make the temperature a parameter.

        Args:
            *kernels: what compares scores; each must be a function of d / τ.

        Raises:
            ValueError: the temperature of a kernel is not what differences are divided by.
        """
        for kernel in kernels:
            if not is_of_ratio(kernel):
                raise ValueError(
                    f"learnable_temperature needs a kernel of d / τ, and {kernel!r} is not one: choose "
                    "'exp', 'softplus', 'hinge' or 'sigmoid', or tune or schedule the temperature"
                )
        self.raw_temperature = nn.Parameter(torch.zeros(()))

    def vectors_at_temperature(self, vectors: Tensor) -> Tensor:
        """Return vectors (…) multiplied by τ₀/τ; as they are if the temperature is not learned."""
        if self.raw_temperature is None:
            return vectors
        # half precision could not hold the sum that is the factor's gradient
        wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
        return (wide * self._factor(wide)).to(vectors.dtype)

    def scores_at_temperature(self, scores: Tensor) -> Tensor:
        """Return scores (…), which may be −∞, multiplied by τ₀/τ; as they are if it is not learned."""
        if self.raw_temperature is None:
            return scores
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if is_transformed(wide):  # _Scaled has no rule for that
            infinite = wide.isinf()
            scaled = torch.where(infinite, wide, wide.masked_fill(infinite, 0.0) * self._factor(wide))
        else:
            scaled = _Scaled.apply(wide, self._factor(wide))
        return scaled.to(scores.dtype)

    def batch_at_temperature(self, batch: ScoredBatch) -> ScoredBatch:
        """Return a batch with its scores multiplied by τ₀/τ; as it is if the temperature is not learned."""
        if self.raw_temperature is None:
            return batch
        return replace(
            batch,
            positive_scores=self.scores_at_temperature(batch.positive_scores),
            negative_scores=self.scores_at_temperature(batch.negative_scores),
        )

    def _factor(self, like: Tensor) -> Tensor:
        """Return τ₀/τ, (), with gradient, and keep τ among the diagnostics."""
        parameter = self.raw_temperature
        assert parameter is not None
        wide = parameter.to(torch.promote_types(parameter.dtype, torch.float32))
        factor = torch.exp(-math.log(RANGE) * torch.tanh(wide))
        self.diagnostics["temperature"] = self.temperature.to(factor.dtype) / factor.detach()
        return factor.to(like.dtype)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take p if both the state and the loss have one: the state may be that of another loss."""
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for keys in (missing_keys, unexpected_keys):
            keys[:] = [key for key in keys if key != prefix + PARAMETER]


def is_of_ratio(kernel: Kernel) -> bool:
    """Tell whether a kernel is a function of d / τ, so that scores can be scaled in place of τ."""
    difference = torch.linspace(-2.0, 2.0, 17, dtype=torch.float64, device="cpu")
    temperature = torch.tensor(0.25, dtype=torch.float64, device="cpu")
    values = kernel.value(difference, temperature)
    return torch.allclose(kernel.value(2.0 * difference, 2.0 * temperature), values, rtol=1e-9, atol=0.0)


class _Scaled(torch.autograd.Function):
    """The product of scores and a number; a score of −∞, which has no slope, leaves the number's alone."""

    @staticmethod
    def forward(scores: Tensor, factor: Tensor) -> Tensor:
        return scores * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        scores, factor = ctx.saved_tensors
        (grad,) = grad_outputs
        finite = scores.masked_fill(torch.isinf(scores), 0.0)
        return grad * factor, (grad * finite).sum()

"""BSLLoss: Bilateral Softmax Loss, a temperature for the positive and one for the negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_croloss.losses.arguments import check_temperature, scheduled_value
from lightning_croloss.losses.batches.scored import Draws, ScoredBatch
from lightning_croloss.losses.checking.resolution import Comparison
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.loss import FusedLoss
from lightning_croloss.losses.kernels import ExponentialKernel
from lightning_croloss.losses.log_sums import differences_that_count, is_empty, log_sum


class BSLLoss(FusedLoss):
    """``−log[exp(s₊ / τ₁) / (Σ_j exp(s_j / τ₂))^{τ₂ / τ₁}]``: BSL (Wu et al., ICDE 2024).

    The sum is over the negatives alone, as in the published code. With one positive a row the formula is
    ``(τ₂ / τ₁) log Σ_j exp(d_j / τ₂)``: τ₁ only scales it. The authors' own code has another exponent, with
    one temperature for both: ``−s₊ / τ + exponent · log Σ_j exp(s_j / τ)``, which is
    ``BSLLoss(temperature=τ, exponent=…)``. That is no function of score differences: above 1 the negatives
    are pushed down more than the positive is pulled up.

    Args:
        temperature: τ₂ of the negatives; the authors' best are 0.08 to 0.17 for cosine scores.
        positive_temperature: τ₁ of the positive. None = ``temperature``.
        num_items: size of the catalogue N, needed with ``negative_log_prob`` only; None is filled by
            ``RetrievalModel``.
        fused: whether ``from_embeddings`` computes value and gradients in tiles, without the (B, M) scores;
            None = where it is faster (see ``CROLoss``). Not with ``exponent``.
        exponent: that of the sum. None = τ₂ / τ₁; the authors' best are 0.8 to 1.32, mostly 1.06 to 1.22.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether the temperatures are learned, by one parameter for their common
            factor, which begins at 1 and stays between a tenth and 10.
    """

    always_printed = ("temperature",)
    sums_over_negatives = True

    def __init__(
        self,
        temperature: float = 0.1,
        positive_temperature: float | None = None,
        num_items: int | None = None,
        fused: bool | None = None,
        *,
        exponent: float | None = None,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        if exponent is not None and fused:
            raise ValueError(
                "with exponent the loss is no function of score differences, so that fused=True cannot "
                "compute it: leave fused out"
            )
        super().__init__(num_items, fused if exponent is None else False, reduction=reduction)
        if exponent is not None and not 0.0 < exponent < math.inf:
            raise ValueError(f"exponent must be a positive number, got {exponent}")
        self.exponent = exponent
        self.check_value("temperature", temperature)
        self.temperature = scheduled_value(temperature)
        self.positive_temperature: Tensor | None = None
        if positive_temperature is not None:
            self.check_value("positive_temperature", positive_temperature)
            self.positive_temperature = scheduled_value(positive_temperature)
        if learnable_temperature:
            self.learn_temperature()

    def schedulable(self) -> dict[str, Tensor]:
        """Return the temperatures that are given and not learned."""
        if self.raw_temperature is not None:
            return {}
        own = self.positive_temperature
        return {"temperature": self.temperature} | ({} if own is None else {"positive_temperature": own})

    def check_value(self, name: str, value: float) -> None:
        """Refuse a temperature that is not positive."""
        check_temperature(value, name)

    def comparison(self) -> Comparison:
        """Return the exponential and the negatives' temperature of now."""
        return Comparison(ExponentialKernel(), float(self.temperature))

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the loss of each row, (B,)."""
        total = log_sum(differences_that_count(batch), batch, self.temperature)
        ratio = self._ratio()
        if self.exponent is None:
            return self._weigh(total, ratio.to(total.dtype))[0]
        # Σ exp(s_j / τ₂) = exp(s₊ / τ₂) Σ exp(d_j / τ₂)
        slope = (self.exponent - ratio) / self.temperature
        losses = self.exponent * total + slope.to(total.dtype) * batch.positive_scores
        return torch.where(is_empty(total, self.temperature), torch.zeros_like(losses), losses)

    def fused_form(self, draws: Draws) -> FusedForm:
        """Return what the fused path must know of the loss: (τ₂ / τ₁) log Σ_j u_j exp(d_j / τ₂)."""
        ratio = self._ratio()

        def weigh(total: Tensor, other: Tensor | None, num_items: Tensor) -> tuple[Tensor, Tensor]:
            return self._weigh(total, ratio.to(total.dtype))

        return FusedForm(ExponentialKernel(), float(self.temperature), weigh, own_term=False)

    def _ratio(self) -> Tensor:
        """Return τ₂ / τ₁, (), on the CPU."""
        own = self.positive_temperature
        return self.temperature / (self.temperature if own is None else own)

    def _weigh(self, total: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses, and their slopes in log Σ; 0 where nothing counts."""
        nothing, zero = is_empty(total, self.temperature), torch.zeros_like(total)
        return torch.where(nothing, zero, ratio * total), torch.where(nothing, zero, zero + ratio)

"""BCELoss: binary cross-entropy over one positive and many negatives."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.arguments import check_temperature, scheduled_value
from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.batches.scored import Draws, ScoredBatch


class BCELoss(RetrievalLoss):
    """``−[log σ(s₊ / τ) + Σ_j u_j log(1 − σ(s_j / τ))] / (M + 1)``, the loss of SASRec (ICDM 2018).

    The mean over the positive and the M draws, as gSASRec (RecSys 2023) has it; ignored draws are draws with
    loss 0. It is no function of score differences: what all scores of a row have in common counts.

    Args:
        temperature: τ, by which scores are divided; tune it between 0.03 and 0.4 for cosine scores. The
            published code has 1, with dot products.
        num_items: size of the catalogue N, needed with ``negative_log_prob`` only; None is filled by
            ``RetrievalModel``.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    always_printed: ClassVar[tuple[str, ...]] = ("temperature",)

    def __init__(
        self,
        temperature: float = 0.1,
        num_items: int | None = None,
        *,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(num_items, reduction=reduction)
        self.temperature = scheduled_value(check_temperature(temperature))
        if learnable_temperature:
            self.learn_temperature()

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``temperature``, if it is not learned."""
        return {} if self.raw_temperature is not None else {"temperature": self.temperature}

    def check_value(self, name: str, value: float) -> None:
        """Refuse a temperature that is not positive."""
        check_temperature(value, name)

    def positive_power(self, draws: Draws) -> Tensor | float:
        """Return the power of the positive's probability, a number, () or (B,)."""
        return 1.0

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the mean over the positive and the draws of each row, (B,)."""
        temperature, draws = self.temperature.to(batch.positive_scores.dtype), batch.draws
        own = functional.softplus(-batch.positive_scores / temperature) * self.positive_power(draws)
        others = functional.softplus(batch.negative_scores / temperature)
        if draws.log_weight is not None:
            others = others * torch.exp(draws.log_weight)
        if batch.negative_mask is not None:
            others = others.masked_fill(batch.negative_mask, 0.0)
        return (own + others.sum(1)) / (1.0 + draws.num_sampled)

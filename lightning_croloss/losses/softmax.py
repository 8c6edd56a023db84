"""SoftmaxLoss: cross-entropy of the positive against the sampled negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.arguments import check_rank_scaling, check_temperature, scheduled_value
from lightning_croloss.losses.batches.scored import Draws, ScoredBatch
from lightning_croloss.losses.checking.resolution import Comparison
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.loss import FusedLoss
from lightning_croloss.losses.kernels import ExponentialKernel
from lightning_croloss.losses.log_sums import differences_that_count, log_sum


class SoftmaxLoss(FusedLoss):
    """Softmax cross-entropy over {positive} ∪ negatives; the full one with ``FullCatalogNegatives``.

    Sampling is corrected for in the negatives only (Bengio and Senécal, 2008; Jean et al., 2015).

    Args:
        temperature: τ, by which scores are divided; tune it between 0.03 and 0.4 for cosine scores.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        rank_scaling: which logQ correction: "reference" takes ``s_j/τ − log(N q_j)``, under which M sampled
            negatives stand for M items; "unbiased" takes the textbook ``s_j/τ − log(M q_j)``, under which
            they stand for the whole catalogue. Without ``negative_log_prob`` q is uniform.
        fused: whether ``from_embeddings`` computes value and gradients in tiles, without the (B, M) scores;
            None = where it is faster (see ``CROLoss``).
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    always_printed = ("temperature",)
    sums_over_negatives = True

    def __init__(
        self,
        temperature: float = 0.1,
        num_items: int | None = None,
        rank_scaling: str = "reference",
        fused: bool | None = None,
        *,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(num_items, fused, reduction=reduction)
        self.rank_scaling = check_rank_scaling(rank_scaling)
        self.temperature = scheduled_value(check_temperature(temperature))
        if learnable_temperature:
            self.learn_temperature()

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``temperature``, if it is not learned."""
        return {} if self.raw_temperature is not None else {"temperature": self.temperature}

    def check_value(self, name: str, value: float) -> None:
        """Refuse a temperature that is not positive."""
        check_temperature(value)

    def comparison(self) -> Comparison:
        """Return the exponential and the temperature of now."""
        return Comparison(ExponentialKernel(), float(self.temperature))

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the cross-entropy of each row, (B,)."""
        if batch.shards is not None:
            total = log_sum(differences_that_count(batch), batch, self.temperature)
            if self.rank_scaling == "unbiased":
                total = total + batch.draws.log_scale
            return torch.logaddexp(total, torch.zeros_like(total))
        temperature = self.temperature.to(batch.positive_scores.dtype)
        logits = batch.negative_scores / temperature
        if batch.draws.log_weight is not None:
            logits = logits + batch.draws.log_weight
        if self.rank_scaling == "unbiased":
            logits = logits + batch.draws.log_scale.unsqueeze(-1)
        if batch.negative_mask is not None:
            logits = logits.masked_fill(batch.negative_mask, float("-inf"))
        logits = torch.cat([(batch.positive_scores / temperature).unsqueeze(1), logits], dim=1)
        first = torch.zeros(logits.shape[0], dtype=torch.long, device=logits.device)
        return functional.cross_entropy(logits, first, reduction="none")

    def fused_form(self, draws: Draws) -> FusedForm:
        """Return what the fused path must know of the loss: log(1 + Σ_j u_j exp(d_j / τ))."""
        unbiased = self.rank_scaling == "unbiased"
        return FusedForm(
            ExponentialKernel(),
            float(self.temperature),
            lambda log_rank, other, num_items: (log_rank, torch.ones_like(log_rank)),
            log_inner=draws.log_scale if unbiased else None,
        )

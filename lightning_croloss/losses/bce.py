"""BCELoss: binary cross-entropy over one positive and many negatives."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses.batches.scored import Draws, ScoredBatch
from lightning_croloss.losses.one_temperature import OneTemperatureLoss


class BCELoss(OneTemperatureLoss):
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

    sums_over_negatives = True

    def positive_power(self, draws: Draws) -> Tensor | float:
        """Return the power of the positive's probability, a number, () or (B,)."""
        return 1.0

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the mean over the positive and the draws of each row, (B,)."""
        temperature, draws = self.temperature.to(batch.positive_scores.dtype), batch.draws
        own = functional.softplus(-batch.positive_scores / temperature) * self.positive_power(draws)
        others = functional.softplus(batch.negative_scores / temperature)
        return (own + batch.sum_of_draws(others)) / (1.0 + draws.num_sampled)

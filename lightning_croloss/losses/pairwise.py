"""PairwiseLoss: what BPR and the triplet loss share, a mean over pairs of positive and negative."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.one_temperature import OneTemperatureLoss


class PairwiseLoss(OneTemperatureLoss):
    """Mean over the draws of a loss of ``(s_j − s₊) / τ``; ignored draws count as draws with loss 0.

    Args:
        temperature: τ, by which score differences are divided.
        num_items: size of the catalogue N, needed with ``negative_log_prob`` only; None is filled by
            ``RetrievalModel``.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    sums_over_negatives = True

    @abstractmethod
    def pair_losses(self, difference: Tensor) -> Tensor:
        """Return the loss of each pair, (B, M), of ``(s_j − s₊) / τ``."""

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the mean over the draws of each row, (B,)."""
        losses = self.pair_losses(batch.difference / self.temperature.to(batch.positive_scores.dtype))
        return batch.sum_of_draws(losses) / batch.draws.num_sampled

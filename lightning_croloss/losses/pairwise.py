"""PairwiseLoss: what BPR and the triplet loss share, a mean over pairs of positive and negative."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from lightning_croloss.losses.arguments import check_temperature, scheduled_value
from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.batches.scored import ScoredBatch


class PairwiseLoss(RetrievalLoss):
    """Mean over the draws of a loss of ``(s_j − s₊) / τ``; ignored draws count as draws with loss 0.

    Args:
        temperature: τ, by which score differences are divided.
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

    @abstractmethod
    def pair_losses(self, difference: Tensor) -> Tensor:
        """Return the loss of each pair, (B, M), of ``(s_j − s₊) / τ``."""

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``temperature``, if it is not learned."""
        return {} if self.raw_temperature is not None else {"temperature": self.temperature}

    def check_value(self, name: str, value: float) -> None:
        """Refuse a temperature that is not positive."""
        check_temperature(value)

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the mean over the draws of each row, (B,)."""
        losses = self.pair_losses(batch.difference / self.temperature.to(batch.positive_scores.dtype))
        if batch.draws.log_weight is not None:
            losses = losses * batch.draws.log_weight.exp()
        if batch.negative_mask is not None:
            losses = losses.masked_fill(batch.negative_mask, 0.0)
        return losses.sum(1) / batch.draws.num_sampled

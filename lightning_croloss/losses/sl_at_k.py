"""SLAtKLoss: softmax cross-entropy in which each positive counts by how surely it is in the top k."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.losses.arguments import check_temperature, scheduled_value
from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.batches.threshold import top_k_threshold
from lightning_croloss.losses.checking.resolution import Comparison
from lightning_croloss.losses.kernels import ExponentialKernel
from lightning_croloss.losses.log_sums import differences_that_count, is_empty, log_sum


class SLAtKLoss(RetrievalLoss):
    """``σ((s₊ − β) / τ_w) · log Σ_j exp(d_j / τ)``: SL@K (Yang et al., KDD 2025), a surrogate of NDCG@k.

    β is the score that an item needs to be among the user's k best (without gradient), and the weight σ has
    one: where the sum is above 1, it pulls against the softmax, and below 1 with it. As in the published
    code the sum is over the negatives, and the weights of a user are not normalised.

    The published code takes as β the k-th best among the user's positives and 1,000 samples, which is the
    score of an item far below rank k of a large catalogue. Here it is the one at position ``⌈k M / N⌉`` of
    the row's own M draws out of N items.

    Args:
        temperature: τ of the softmax; tune it as that of ``SoftmaxLoss``.
        weight_temperature: τ_w of the weight; the authors search 0.5 to 3 for cosine scores.
        k: the rank K at which the list is cut. Beyond the catalogue it is the last item.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        include_positive: whether the positive itself is in the sum, as in the paper's formula, so that the
            logarithm is never negative.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it; τ_w stays.
    """

    always_printed = ("temperature", "weight_temperature", "k")

    def __init__(
        self,
        temperature: float = 0.1,
        weight_temperature: float = 1.0,
        k: int = 20,
        num_items: int | None = None,
        *,
        include_positive: bool = False,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(num_items, reduction=reduction)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k
        self.include_positive = include_positive
        self.check_value("temperature", temperature)
        self.check_value("weight_temperature", weight_temperature)
        self.temperature = scheduled_value(temperature)
        self.weight_temperature = scheduled_value(weight_temperature)
        if learnable_temperature:
            self.learn_temperature()

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``weight_temperature``, and ``temperature`` if it is not learned."""
        fixed = {} if self.raw_temperature is not None else {"temperature": self.temperature}
        return fixed | {"weight_temperature": self.weight_temperature}

    def check_value(self, name: str, value: float) -> None:
        """Refuse a temperature that is not positive."""
        check_temperature(value, name)

    def comparison(self) -> Comparison:
        """Return the exponential and the temperature of now."""
        return Comparison(ExponentialKernel(), float(self.temperature))

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return the weighted cross-entropy of each row, (B,)."""
        differences = differences_that_count(batch)
        total = log_sum(differences, batch.draws, self.temperature)
        nothing, zero = is_empty(total), torch.zeros_like(total)
        if self.include_positive:
            total = torch.logaddexp(total, zero)
        own = batch.positive_scores
        threshold = own.detach() + top_k_threshold(differences.detach(), batch.draws, self.k)
        if self.raw_temperature is not None:  # the scores are multiplied by τ₀/τ, which the weight is not of
            factor = self._factor(own)
            own, threshold = own / factor, threshold / factor.detach()
        ahead = own - threshold
        weight = torch.sigmoid(ahead / self.weight_temperature.to(ahead.dtype))
        self.diagnostics["weight"] = weight.detach().mean()
        return torch.where(nothing, zero, weight * total)

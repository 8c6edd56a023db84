"""SLAtKLoss: softmax cross-entropy in which each positive counts by how surely it is in the top k."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_croloss.losses.arguments import check_temperature, scheduled_value
from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.batches.threshold import top_k_threshold
from lightning_croloss.losses.checking.resolution import Comparison
from lightning_croloss.losses.kernels import ExponentialKernel
from lightning_croloss.losses.log_sums import differences_that_count, is_empty, log_sum
from lightning_croloss.losses.user_thresholds import UserThresholds


class SLAtKLoss(RetrievalLoss):
    """``σ((s₊ − β) / τ_w) · log Σ_j exp(d_j / τ)``: SL@K (Yang et al., KDD 2025), a surrogate of NDCG@k.

    β is the score that an item needs to be among the user's k best (without gradient), and the weight σ has
    one: where the sum is above 1, it pulls against the softmax, and below 1 with it. As in the published
    code the sum is over the negatives, and the weights of a user are not normalised.

    The published code takes as β the k-th best among the user's positives and 1,000 samples, which is the
    score of an item far below rank k of a large catalogue. Here it is the one at position ``⌈k M / N⌉`` of
    the row's own M draws out of N items. With ``refresh_epochs`` it is kept for each user, as published: from
    a user's first row on, estimated anew in an epoch that is so many later. Only training does so: in
    ``eval()`` and under ``no_grad`` a row has what is kept of its user, and else its own estimate.

    Args:
        temperature: τ of the softmax; tune it as that of ``SoftmaxLoss``.
        weight_temperature: τ_w of the weight; the authors search 0.5 to 3 for cosine scores. Well below
            ``τ log M`` the weight pushes positives that are not in the top k further down, faster than the
            softmax pulls them up, and nothing is learned.
        k: the rank K at which the list is cut. Beyond the catalogue it is the last item.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        include_positive: whether the positive itself is in the sum, as in the paper's formula, so that the
            logarithm is never negative.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it; τ_w stays.
        refresh_epochs: for how many epochs a user's β is kept; published 5 and 20. It needs ``user_ids``,
            which only ``from_embeddings`` takes and a ``RetrievalModel`` gives. With several processes of
            ``torch.distributed`` they are the users of all, so that every process must come to each step.
            None = every row estimates its own.
    """

    always_printed = ("temperature", "weight_temperature", "k")
    sums_over_negatives = True

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
        refresh_epochs: int | None = None,
    ) -> None:
        super().__init__(num_items, reduction=reduction)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if refresh_epochs is not None and refresh_epochs < 1:
            raise ValueError(f"refresh_epochs must be at least 1, got {refresh_epochs}")
        self.k = k
        self.refresh_epochs = refresh_epochs
        self.needs_user_ids = refresh_epochs is not None
        self._kept = UserThresholds()
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
        total = log_sum(differences, batch, self.temperature)
        nothing, zero = is_empty(total, self.temperature), torch.zeros_like(total)
        if self.include_positive:
            total = torch.logaddexp(total, zero)
        own = batch.positive_scores
        beyond = top_k_threshold(differences.detach(), batch.draws, self.k, batch.shards)
        if self.raw_temperature is not None:  # the scores are multiplied by τ₀/τ, which the weight is not of
            factor = self._factor(own)
            own, beyond = own / factor, beyond / factor.detach()
        # a batch of shards has the rows of all processes
        ahead = own - self._kept_threshold(own.detach() + beyond, batch.user_ids, batch.shards is not None)
        weight = torch.sigmoid(ahead / self.weight_temperature.to(ahead.dtype))
        self.diagnostics["weight"] = weight.detach().mean()
        return torch.where(nothing, zero, weight * total)

    def _kept_threshold(self, estimates: Tensor, user_ids: Tensor | None, whole: bool) -> Tensor:
        """Return β of each row, (B,): its own estimate, or what is kept of its user."""
        if self.refresh_epochs is None:
            return estimates
        if user_ids is None:
            raise ValueError(
                "SLAtKLoss with refresh_epochs needs to know the users: give from_embeddings user_ids"
            )
        if not (self.training and torch.is_grad_enabled()):  # a validation must not change the training
            return self._kept.read(user_ids, estimates, self.epoch)
        return self._kept.kept(user_ids, estimates, self.epoch, self.refresh_epochs, self.num_users, whole)

    def training_state(self) -> dict[str, Any]:
        """Return the thresholds of the users, if they are kept."""
        return {} if self.refresh_epochs is None else {"user_thresholds": self._kept.state_dict()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take back the thresholds, if they are kept here and there."""
        kept = state.get("user_thresholds")
        if self.refresh_epochs is not None and isinstance(kept, dict):
            self._kept.load_state_dict(kept)

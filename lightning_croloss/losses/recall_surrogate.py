"""RecallSurrogateLoss: a smooth Recall@k, over several k."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_croloss.common.host_numbers import numbers_beside
from lightning_croloss.losses.arguments import check_rank_scaling, check_temperature, scheduled_value
from lightning_croloss.losses.batches.scored import Draws, ScoredBatch
from lightning_croloss.losses.checking.resolution import Comparison
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.loss import FusedLoss
from lightning_croloss.losses.importance import LARGEST_LOG_RANK
from lightning_croloss.losses.kernels import SigmoidKernel


class RecallSurrogateLoss(FusedLoss):
    """``1 − mean over k of σ((k − R) / τ₂)``, the Recall@k surrogate of Patel et al. (CVPR 2022).

    ``R̂ = 1 + Σ_j u_j σ(d_j / τ₁)`` is the soft rank among the sampled and R, as in ``CROLoss``, that in the
    catalogue, so that k is a rank in the catalogue. Where R is far from every k, there is no gradient: choose
    ks and τ₂ of the size of the ranks that positives have.

    Args:
        temperature: τ₁ of the comparisons; published 0.01, at which a model that has learned nothing gets
            hardly any gradient from few negatives.
        rank_temperature: τ₂ of the ranks; published 1. A list has one for each of ``ks``.
        ks: the ranks at which a list may be cut; published 1, 2, 4, 8 and 16.
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``, and means M elsewhere.
        rank_scaling: "unbiased": ``R = 1 + (N/M)(R̂ − 1)``, by which rank 1 can be reached; "reference":
            ``R = (N/M) R̂``, of which the smallest is N/M.
        fused: whether ``from_embeddings`` computes value and gradients in tiles, without the (B, M) scores;
            None = where it is faster (see ``CROLoss``).
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
        learnable_temperature: whether τ₁ is a parameter, which begins at ``temperature`` and stays between a
            tenth and ten times of it.
    """

    always_printed = ("temperature", "rank_temperature", "ks")
    sums_over_negatives = True

    def __init__(
        self,
        temperature: float = 0.1,
        rank_temperature: float | Sequence[float] = 1.0,
        ks: Sequence[int] = (1, 2, 4, 8, 16),
        num_items: int | None = None,
        rank_scaling: str = "unbiased",
        fused: bool | None = None,
        *,
        reduction: str = "mean",
        learnable_temperature: bool = False,
    ) -> None:
        super().__init__(num_items, fused, reduction=reduction)
        self.ks = tuple(ks)
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"ks must be numbers of at least 1, got {list(ks)}")
        self.rank_scaling = check_rank_scaling(rank_scaling)
        self.temperature = scheduled_value(check_temperature(temperature))
        self.rank_temperature: Tensor | tuple[float, ...]
        if isinstance(rank_temperature, Sequence):
            self.rank_temperature = tuple(check_temperature(t, "rank_temperature") for t in rank_temperature)
            if len(self.rank_temperature) != len(self.ks):
                raise ValueError(
                    f"rank_temperature must be a number, or one for each of the {len(self.ks)} ks, got "
                    f"{list(rank_temperature)}"
                )
        else:
            self.rank_temperature = scheduled_value(check_temperature(rank_temperature, "rank_temperature"))
        if learnable_temperature:
            self.learn_temperature()

    def schedulable(self) -> dict[str, Tensor]:
        """Return ``rank_temperature``, if it is one number, and ``temperature``, if it is not learned."""
        fixed = {} if self.raw_temperature is not None else {"temperature": self.temperature}
        ranks = self.rank_temperature
        return fixed | ({"rank_temperature": ranks} if isinstance(ranks, Tensor) else {})

    def check_value(self, name: str, value: float) -> None:
        """Refuse a temperature that is not positive."""
        check_temperature(value, name)

    def comparison(self) -> Comparison:
        """Return the sigmoid and the temperature of now."""
        return Comparison(SigmoidKernel(), float(self.temperature))

    def row_losses(self, batch: ScoredBatch) -> Tensor:
        """Return 1 minus the smooth recall of each row, (B,)."""
        terms = torch.sigmoid(batch.difference / self.temperature.to(batch.positive_scores.dtype))
        ahead, ratio = batch.sum_of_draws(terms), batch.draws.num_items / batch.draws.num_sampled
        rank = 1.0 + ratio * ahead if self.rank_scaling == "unbiased" else ratio * (1.0 + ahead)
        self.keep_diagnostics(rank.detach().log())
        return self._beyond(rank).mean(-1)

    def fused_form(self, draws: Draws) -> FusedForm:
        """Return what the fused path must know of the loss."""
        unbiased = self.rank_scaling == "unbiased"

        def weigh(log_rank: Tensor, other: Tensor | None, num_items: Tensor) -> tuple[Tensor, Tensor]:
            rank = log_rank.clamp(max=LARGEST_LOG_RANK).exp()
            beyond = self._beyond(rank)
            slope = beyond * (1.0 - beyond) / self._rank_temperatures(rank)
            return beyond.mean(-1), slope.mean(-1) * rank

        return FusedForm(
            SigmoidKernel(),
            float(self.temperature),
            weigh,
            log_inner=draws.log_scale if unbiased else None,
            log_outer=None if unbiased else draws.log_scale,
        )

    def _beyond(self, rank: Tensor) -> Tensor:
        """Return σ((R − k) / τ₂), (B, K), of ranks (B,)."""
        ks = numbers_beside(self.ks, rank)
        return torch.sigmoid((rank.unsqueeze(-1) - ks) / self._rank_temperatures(rank))

    def _rank_temperatures(self, like: Tensor) -> Tensor:
        """Return τ₂, () or (K,)."""
        value = self.rank_temperature
        if isinstance(value, Tensor):
            return value.to(like.dtype)
        return numbers_beside(value, like)

    def keep_diagnostics(self, log_ranks: Tensor) -> None:
        """Keep the mean and the best soft rank, for logging."""
        ranks = log_ranks.clamp(max=LARGEST_LOG_RANK).exp()
        self.diagnostics["soft_rank"] = ranks.mean()
        self.diagnostics["best_soft_rank"] = ranks.min()

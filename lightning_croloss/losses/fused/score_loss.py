"""ScoreLoss: the part of a fused loss that begins with scores, a model's logits among them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from lightning_croloss.common.unread_values import is_transformed, is_unread
from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.batches.call_scores import CallScores
from lightning_croloss.losses.batches.logits import LogitBatch
from lightning_croloss.losses.batches.positives import Positives
from lightning_croloss.losses.batches.reduction import Fold, reduce_losses, weights_of_rows
from lightning_croloss.losses.batches.scored import Draws, ScoredBatch, rank_dtype
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.score_function import Again, loss_of_scores
from lightning_croloss.losses.fused.score_plan import ScorePlan

#: Number of scores from which on one pass over them is faster than the naive path.
FEWEST_GIVEN_SCORES = 2**15
#: What computes its own gradients cannot do.
NOT_TRANSFORMED = "the loss cannot be transformed by torch.func, or computed of tensors without values"


class ScoreLoss(RetrievalLoss):
    """A loss with two paths from scores to the same value and gradients.

    The naive path is that of ``RetrievalLoss``; the other reads the scores once and writes their gradient
    once, block of rows by block of rows.

    Args:
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        fused: whether logits take one pass over them, and large matrices of scores do; None = the same.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
    """

    def __init__(
        self, num_items: int | None = None, fused: bool | None = None, *, reduction: str = "mean"
    ) -> None:
        super().__init__(num_items, reduction=reduction)
        self.fused = fused

    @abstractmethod
    def fused_form(self, draws: Draws) -> FusedForm:
        """Return what the fused path must know of the loss, with its parameters as they are now."""

    def keep_diagnostics(self, log_ranks: Tensor) -> None:
        """Keep in ``diagnostics`` what is logged about log R, (B,), which has no gradient."""

    def _loss_of_scores(self, batch: ScoredBatch, sample_weight: Tensor | None, fold: Fold | None) -> Tensor:
        naive = super()._loss_of_scores
        if (
            self.fused is False
            or is_unread(batch.negative_scores)
            or batch.negative_scores.numel() < FEWEST_GIVEN_SCORES
            or needs_gradient(batch.draws.log_weight, sample_weight)
        ):
            return naive(batch, sample_weight, fold)

        def again(scores: Tensor, positive_scores: Tensor) -> Tensor:
            same = replace(batch, positive_scores=positive_scores, negative_scores=scores)
            return naive(same, sample_weight, None)

        loss = self._in_one_pass(
            batch.negative_scores,
            batch.positive_scores,
            batch.draws,
            sample_weight,
            batch.negative_mask,
            CallScores.of(batch),
            again,
        )
        return reduce_losses(loss, None, "none", fold) if self.reduction == "none" else loss

    def _loss_of_logits(self, batch: LogitBatch) -> Tensor:
        if not self._takes_fused_logits(batch):
            return super()._loss_of_logits(batch)
        if torch.compiler.is_compiling():
            loss: Tensor = self._logits_outside_graph(batch)
            return loss
        return self._fused_loss_of_logits(batch)

    def _takes_fused_logits(self, batch: LogitBatch) -> bool:
        """Return whether to take the fused path.

        Raises:
            ValueError: ``fused=True`` with arguments that the fused path cannot take.
        """
        if self.fused is False:
            return False
        obstacle = None
        if is_transformed(batch.logits):
            obstacle = NOT_TRANSFORMED
        elif needs_gradient(batch.log_prob, batch.sample_weight):
            obstacle = "log_prob and sample_weight get no gradient"
        if self.fused and obstacle is not None:
            raise ValueError(f"with fused=True {obstacle}: leave fused out")
        return obstacle is None

    def _fused_loss_of_logits(self, batch: LogitBatch) -> Tensor:
        logits, positives = batch.logits, batch.positives
        draws = Draws.check(
            torch.Size((positives.number, logits.shape[1])),
            rank_dtype(logits.dtype),
            logits.device,
            batch.log_prob,
            batch.num_sampled,
            batch.num_items,
        )
        loss = self._in_one_pass(
            logits, positives, draws, batch.sample_weight, batch.mask, batch.call_scores()
        )
        return loss.view(batch.shape) if self.reduction == "none" else loss

    _logits_outside_graph = torch.compiler.disable(_fused_loss_of_logits)

    def _in_one_pass(
        self,
        scores: Tensor,
        positives: Tensor | Positives,
        draws: Draws,
        sample_weight: Tensor | None,
        mask: Tensor | None,
        call_scores: CallScores,
        again: Again | None = None,
    ) -> Tensor:
        """Return the loss of scores (R, C), of which there are some, or (R,) those of the rows.

        Args:
            scores: (R, C) of negatives, and of positives if these are columns.
            positives: (R,) the scores of the positives, or which columns they are, P in all.
            draws: of the P positives.
            sample_weight: (P,) or None.
            mask: (C,) or (R, C) bool, True = ignore.
            call_scores: what warnings go by.
            again: computes the loss where a second derivative is asked for; None = it is refused.
        """
        self._scheduled.check(self)
        self.inspect_scores(call_scores)
        given, own = (positives, None) if isinstance(positives, Tensor) else (None, positives)
        number = scores.shape[0] if own is None else own.number
        weight = weights_of_rows(
            sample_weight,
            draws.has_draws,
            number,
            rank_dtype(scores.dtype),
            self.reduction,
            self.across_processes,
        )
        plan = ScorePlan(self.fused_form(draws), draws, weight, mask, own)
        loss, log_ranks = loss_of_scores(plan, scores, given, self.reduction == "none", again)
        self.keep_diagnostics(log_ranks)
        return loss


def needs_gradient(*given: Tensor | None) -> bool:
    """Return whether a gradient is wanted of any of what is given."""
    return any(value is not None and value.requires_grad for value in given)

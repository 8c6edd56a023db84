"""FusedLoss: the contract of a loss that can be computed in tiles, straight from embeddings."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from lightning_croloss.common.products import no_autocast
from lightning_croloss.losses.base import RetrievalLoss
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.function import fused_loss
from lightning_croloss.losses.fused.plan import Plan, Tiling
from lightning_croloss.losses.fused.score_function import loss_of_scores
from lightning_croloss.losses.fused.score_plan import ScorePlan
from lightning_croloss.losses.inspection import CallScores
from lightning_croloss.losses.logits import LogitBatch
from lightning_croloss.losses.metadata import BatchMetadata
from lightning_croloss.losses.reduction import Fold, reduce_losses, weights_of_rows
from lightning_croloss.losses.scored import Draws, ScoredBatch, check_sample_weight, rank_dtype

#: Number of scores from which on the fused path is faster than the naive one.
FEWEST_SCORES = 2**18

#: The same of scores that are there already, as their gradient is what all else comes from.
FEWEST_GIVEN_SCORES = 2**15


class FusedLoss(RetrievalLoss):
    """A loss with two paths from embeddings to the same value and gradients.

    The naive path computes the (B, M) scores and calls ``forward``; the fused path (see
    ``lightning_croloss.losses.fused``) never holds them. A subclass implements ``row_losses`` for the one and
    :meth:`fused_form` for the other, and may override :meth:`keep_diagnostics`.

    Args:
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        fused: whether ``from_embeddings`` takes the fused path, which has no second derivative; None = where
            it is faster.
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

    def _loss_of_vectors(
        self, users: Tensor, positives: Tensor, candidates: Tensor, metadata: BatchMetadata
    ) -> Tensor:
        if self._takes_fused_path(users, candidates, metadata):
            loss: Tensor = self._fused_loss(users, positives, candidates, metadata)
            return loss
        return super()._loss_of_vectors(users, positives, candidates, metadata)

    def _takes_fused_path(self, users: Tensor, candidates: Tensor, metadata: BatchMetadata) -> bool:
        """Return whether to take the fused path.

        Raises:
            ValueError: ``fused=True`` with arguments that the fused path cannot take.
        """
        if self.fused is False or users.numel() == 0 or candidates.numel() == 0:
            return False
        obstacle = None
        if candidates.dim() != 2:
            obstacle = f"candidates must be (M, D), shared by the batch, got {tuple(candidates.shape)}"
        elif metadata.candidate_ids is not None and metadata.candidate_ids.dim() != 1:
            obstacle = f"candidate_ids must be (M,), got {tuple(metadata.candidate_ids.shape)}"
        elif any(
            given is not None and given.requires_grad for given in (metadata.log_prob, metadata.sample_weight)
        ):
            obstacle = "candidate_log_prob and sample_weight get no gradient"
        if obstacle is None:
            return bool(self.fused) or users.shape[0] * candidates.shape[0] >= FEWEST_SCORES
        if self.fused:
            raise ValueError(f"with fused=True {obstacle}: leave fused out")
        return False

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _fused_loss(
        self, users: Tensor, positives: Tensor, candidates: Tensor, metadata: BatchMetadata
    ) -> Tensor:
        self._scheduled.check(self)
        users = self.vectors_at_temperature(users)
        rows, columns = users.shape[0], candidates.shape[0]
        check_vectors(users, positives, candidates)
        if metadata.sample_weight is not None:
            check_sample_weight(metadata.sample_weight, rows)
        dtype = rank_dtype(users.dtype, positives.dtype, candidates.dtype)
        shape = torch.Size((rows, columns))
        draws = Draws.check(
            shape, dtype, users.device, metadata.log_prob, metadata.num_sampled, metadata.num_items
        )
        form = self.fused_form(draws)
        ids = metadata.candidate_ids
        self.inspect_scores(
            CallScores(
                columns,
                metadata.num_items,
                lambda: sample_of_differences(users, positives, candidates),
                None if ids is None else lambda: (ids != 0).sum(),
            )
        )
        row_weight = weights_of_rows(metadata.sample_weight, draws.has_draws, rows, dtype, self.reduction)
        tiling = Tiling.choose(users, candidates)
        hits = metadata.hits_by_tile(tiling.rows, tiling.width)
        by_row = self.reduction == "none"
        loss, log_ranks = fused_loss(
            Plan(form, draws, row_weight, hits, tiling), users, positives, candidates, by_row
        )
        self.keep_diagnostics(log_ranks)
        return reduce_losses(loss, None, "none", metadata.fold) if by_row else loss

    def _loss_of_scores(self, batch: ScoredBatch, sample_weight: Tensor | None, fold: Fold | None) -> Tensor:
        naive = super()._loss_of_scores
        if self.fused is False or torch.compiler.is_compiling():
            return naive(batch, sample_weight, fold)
        if batch.negative_scores.numel() < FEWEST_GIVEN_SCORES or any(
            given is not None and given.requires_grad for given in (batch.draws.log_weight, sample_weight)
        ):
            return naive(batch, sample_weight, fold)
        self._scheduled.check(self)
        draws, number = batch.draws, batch.positive_scores.shape[0]
        if sample_weight is not None:
            check_sample_weight(sample_weight, number)
        self.inspect_scores(CallScores.of(batch))
        dtype, by_row = batch.positive_scores.dtype, self.reduction == "none"
        weight = weights_of_rows(sample_weight, draws.has_draws, number, dtype, self.reduction)

        def again(scores: Tensor, positive_scores: Tensor) -> Tensor:
            same = replace(batch, positive_scores=positive_scores, negative_scores=scores)
            return naive(same, sample_weight, None)

        loss, log_ranks = loss_of_scores(
            ScorePlan(self.fused_form(draws), draws, weight, batch.negative_mask, None),
            batch.negative_scores,
            batch.positive_scores,
            by_row,
            again,
        )
        self.keep_diagnostics(log_ranks)
        return reduce_losses(loss, None, "none", fold) if by_row else loss

    def _loss_of_logits(self, batch: LogitBatch) -> Tensor:
        if self._takes_fused_logits(batch):
            if torch.compiler.is_compiling():
                loss: Tensor = self._logits_outside_graph(batch)
                return loss
            return self._fused_loss_of_logits(batch)
        return super()._loss_of_logits(batch)

    def _takes_fused_logits(self, batch: LogitBatch) -> bool:
        """Return whether to take the fused path.

        Raises:
            ValueError: ``fused=True`` with arguments that the fused path cannot take.
        """
        if self.fused is False:
            return False
        given = (batch.log_prob, batch.sample_weight)
        if any(value is not None and value.requires_grad for value in given):
            if self.fused:
                raise ValueError(
                    "with fused=True log_prob and sample_weight get no gradient: leave fused out"
                )
            return False
        return True

    def _fused_loss_of_logits(self, batch: LogitBatch) -> Tensor:
        self._scheduled.check(self)
        dtype, number = rank_dtype(batch.logits.dtype), batch.positives.number
        draws = Draws.check(
            torch.Size((number, batch.logits.shape[1])),
            dtype,
            batch.logits.device,
            batch.log_prob,
            batch.num_sampled,
            batch.num_items,
        )
        form = self.fused_form(draws)
        self.inspect_scores(batch.call_scores())
        weight = weights_of_rows(batch.sample_weight, draws.has_draws, number, dtype, self.reduction)
        by_row = self.reduction == "none"
        plan = ScorePlan(form, draws, weight, batch.mask, batch.positives)
        loss, log_ranks = loss_of_scores(plan, batch.logits, by_row=by_row)
        self.keep_diagnostics(log_ranks)
        return loss.view(batch.shape) if by_row else loss

    _logits_outside_graph = torch.compiler.disable(_fused_loss_of_logits)


def check_vectors(users: Tensor, positives: Tensor, candidates: Tensor) -> None:
    """Raise ``ValueError`` unless the vectors are (B, D), (B, D) and (M, D)."""
    if users.dim() != 2 or positives.shape != users.shape or candidates.shape[1:] != users.shape[1:]:
        raise ValueError(
            "users and positives must be (B, D) and candidates (M, D), got "
            f"{tuple(users.shape)}, {tuple(positives.shape)} and {tuple(candidates.shape)}"
        )


@torch.no_grad()
def sample_of_differences(users: Tensor, positives: Tensor, candidates: Tensor) -> Tensor:
    """Return ``s_j − s₊`` of some rows and of candidates spread over all, 2¹⁶ pairs at most."""
    rows = slice(None, None, -(-users.shape[0] // 64))
    columns = slice(None, None, -(-candidates.shape[0] // 1024))
    users, positives, candidates = users[rows].float(), positives[rows].float(), candidates[columns].float()
    with no_autocast(users.device):
        return users @ candidates.T - (users * positives).sum(-1, keepdim=True)

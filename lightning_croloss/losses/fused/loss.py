"""FusedLoss: the contract of a loss that can be computed in tiles, straight from embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.products import no_autocast
from lightning_croloss.common.triton_switch import takes_triton
from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.common.unread_values import is_transformed
from lightning_croloss.losses.batches.call_scores import CallScores, spread_over
from lightning_croloss.losses.batches.metadata import BatchMetadata
from lightning_croloss.losses.batches.reduction import reduce_losses, weights_of_rows
from lightning_croloss.losses.batches.scored import Draws, rank_dtype
from lightning_croloss.losses.fused.function import fused_loss
from lightning_croloss.losses.fused.plan import LossPlan
from lightning_croloss.losses.fused.planning import plan_of_vectors
from lightning_croloss.losses.fused.score_loss import NOT_TRANSFORMED, ScoreLoss, needs_gradient
from lightning_croloss.losses.fused.triton.choice import pays
from lightning_croloss.losses.sharded.batch import ShardedBatch
from lightning_croloss.losses.sharded.function import fused_losses

#: Number of scores from which on the fused path is faster than the naive one: on a processor; on a GPU by
#: kernels of its own; and there portably. Those of a GPU are of an H200, by ``benchmarks/gpu``.
FEWEST_SCORES, FEWEST_ON_GPU, FEWEST_WITHOUT_KERNELS = 2**18, 2**24, 2**26


class FusedLoss(ScoreLoss):
    """A loss with two paths from embeddings to the same value and gradients.

    The naive path computes the (B, M) scores and then what ``forward`` does; the fused path (see
    ``lightning_croloss.losses.fused``) never holds them. A subclass implements ``row_losses`` for the one and
    ``fused_form`` for the other, and may override ``keep_diagnostics``.

    Args:
        num_items: size of the catalogue N; None is filled by ``RetrievalModel``.
        fused: whether ``from_embeddings`` takes the fused path, which has no second derivative; None = where
            it is faster.
        reduction: "mean", "sum" or "none", see ``RetrievalLoss``.
    """

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
        if is_transformed(users):
            obstacle = NOT_TRANSFORMED
        elif candidates.dim() != 2:
            obstacle = f"candidates must be (M, D), shared by the batch, got {tuple(candidates.shape)}"
        elif metadata.candidate_ids is not None and metadata.candidate_ids.dim() != 1:
            obstacle = f"candidate_ids must be (M,), got {tuple(metadata.candidate_ids.shape)}"
        elif needs_gradient(metadata.log_prob, metadata.sample_weight):
            obstacle = "candidate_log_prob and sample_weight get no gradient"
        if obstacle is None:
            number = users.shape[0] * candidates.shape[0]
            return bool(self.fused) or number >= fewest_scores(users, candidates)
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
                lambda: sample_of_products(users, positives, candidates, metadata.unit_candidates),
                None if ids is None else lambda: (ids != 0).sum(),
            )
        )
        row_weight = weights_of_rows(
            metadata.sample_weight, draws.has_draws, rows, dtype, self.reduction, self.across_processes
        )
        by_row = self.reduction == "none"
        loss_plan = LossPlan(form, draws, row_weight)
        plan = plan_of_vectors(loss_plan, users, positives, candidates, metadata, self.spare_memory)
        loss, log_ranks = fused_loss(plan, users, positives, candidates, by_row)
        self.keep_diagnostics(log_ranks)
        return reduce_losses(loss, None, "none", metadata.fold) if by_row else loss

    def _losses_over_shards(self, batch: ShardedBatch) -> Tensor:
        number = batch.rows * batch.num_columns
        fewest = FEWEST_SCORES if batch.users.is_cpu else FEWEST_WITHOUT_KERNELS
        if self.fused is False or (self.fused is None and number < fewest):
            return super()._losses_over_shards(batch)
        losses, log_ranks = fused_losses(batch, self.fused_form(batch.draws), self.spare_memory)
        self.keep_diagnostics(log_ranks)
        return losses


def fewest_scores(users: Tensor, candidates: Tensor) -> int:
    """Return from how many scores of (B, D) users and (M, D) candidates on the fused path is faster."""
    if users.is_cpu:
        return FEWEST_SCORES
    return FEWEST_ON_GPU if takes_triton(users.device, pays(users, candidates)) else FEWEST_WITHOUT_KERNELS


@torch.no_grad()
def sample_of_products(users: Tensor, positives: Tensor, candidates: Tensor, unit: bool) -> Tensor:
    """Return ``s_j − s₊`` of some rows and of candidates spread over all, 2¹⁶ pairs at most.

    Args:
        users: (B, D).
        positives: (B, D).
        candidates: (M, D).
        unit: whether these are to be brought to unit length.
    """
    rows, columns = spread_over(users.shape[0], candidates.shape[0])
    users, positives, candidates = users[rows].float(), positives[rows].float(), candidates[columns].float()
    candidates = unit_length(candidates) if unit else candidates
    with no_autocast(users.device):
        return users @ candidates.T - (users * positives).sum(-1, keepdim=True)

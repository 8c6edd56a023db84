"""The naive path over shards: all rows by autograd, the sums over negatives added up over the processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.unit_length import unit_length
from lightning_croloss.losses.batches.scored import ScoredBatch
from lightning_croloss.losses.batches.shard_sums import ShardSums
from lightning_croloss.losses.sharded.batch import ShardedBatch
from lightning_croloss.sharding.messages import gathered_rows, returned_rows


def naive_losses(batch: ShardedBatch, row_losses: Callable[[ScoredBatch], Tensor]) -> Tensor:
    """Return the losses (b,) of this process's rows, times their weights.

    Args:
        batch: the rows; there are some on one process at least.
        row_losses: that of the loss.
    """
    dtype = batch.row_weight.dtype
    own_scores = (batch.users.to(dtype) * batch.positives.to(dtype)).sum(-1)
    users, positive_scores = _gathered(batch.users, batch.counts), _gathered(own_scores, batch.counts)
    with torch.autocast(users.device.type, enabled=False):
        candidates: Tensor = _Shared.apply(batch.candidates, batch.share)
        candidates = unit_length(candidates) if batch.unit_candidates else candidates
        scores = users.to(dtype) @ candidates.to(dtype).T
        scored = ScoredBatch(
            positive_scores,
            scores,
            batch.hit_mask(),
            batch.draws,
            batch.num_columns,
            batch.user_ids,
            ShardSums(batch.num_columns),
        )
        return row_losses(scored)[batch.own] * batch.row_weight


def _gathered(values: Tensor, counts: list[int]) -> Tensor:
    rows: Tensor = _Gathered.apply(values, counts)
    return rows


class _Gathered(torch.autograd.Function):
    """Rows of all processes; the gradient of each is the sum of what all processes' losses say of it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        return gathered_rows(values, counts)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return returned_rows(grad, ctx.counts), None


class _Shared(torch.autograd.Function):
    """The same values, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, share: float) -> Tensor:
        ctx.share = share
        return values.view_as(values)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad * ctx.share, None

"""The fused loss over shards as an autograd function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.losses.batches.tile_hits import hits_by_tile
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.function import refuse_second_derivative
from lightning_croloss.losses.fused.plan import Plan, Tiling
from lightning_croloss.losses.sharded.batch import ShardedBatch
from lightning_croloss.losses.sharded.compute import ShardedComputation
from lightning_croloss.sharding.messages import gathered_rows


def fused_losses(batch: ShardedBatch, form: FusedForm, spare_memory: SpareMemory) -> tuple[Tensor, Tensor]:
    """Compute the losses of this process's rows and, where any process needs one, the gradients.

    Args:
        batch: the rows; there are some on one process at least.
        form: the loss.
        spare_memory: for the candidates' gradient.

    Returns:
        (b,) the losses times their weights; and log R (R,) of the rows of all processes, without gradient.
    """
    tiling = Tiling.of_two_sweeps(batch.users, batch.candidates, batch.rows)  # all cut the rows alike
    numbers, lists = batch.hit_lists()
    hits = hits_by_tile(numbers, None, lists, tiling.rows, tiling.width)
    row_weight = gathered_rows(batch.row_weight, batch.counts)
    plan = Plan(form, batch.draws, row_weight, hits, tiling, batch.unit_candidates, spare_memory)
    computation = ShardedComputation(plan, batch.counts, batch.own, batch.share)
    inputs = (batch.users, batch.positives, batch.candidates)
    if batch.needs_gradient:
        losses: Tensor = _ShardedFunction.apply(computation, *inputs)
    else:
        computation.rank(*inputs, weighs=False)
        losses = computation.losses[batch.own]
    return losses, computation.log_ranks


class _ShardedFunction(torch.autograd.Function):
    """Computes the gradients in its backward pass, where what each row's loss is multiplied by is known.

    The items' gradient is of the losses of all processes, times the batch's share.
    """

    @staticmethod
    def forward(
        ctx: Any, computation: ShardedComputation, users: Tensor, positives: Tensor, candidates: Tensor
    ) -> Tensor:
        computation.rank(users, positives, candidates, weighs=True)
        ctx.computation = computation
        ctx.save_for_backward(users, positives, candidates)
        return computation.losses[computation.own].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        computation: ShardedComputation = ctx.computation
        users, positives, candidates = inputs = ctx.saved_tensors
        row_grad = gathered_rows(grad_outputs[0], computation.counts)
        needs = ctx.needs_input_grad[1:]
        gradients = computation.gradients(users, positives, candidates, row_grad, needs)
        pairs = zip(gradients, inputs, strict=True)
        return (None, *(None if grad is None else grad.to(entry.dtype) for grad, entry in pairs))

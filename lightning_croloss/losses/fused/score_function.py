"""The loss of a matrix of scores as an autograd function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_croloss.losses.fused.function import refuse_second_derivative, scaled_gradients
from lightning_croloss.losses.fused.score_plan import ScorePlan
from lightning_croloss.losses.fused.scores import ScoreComputation


def loss_of_scores(
    plan: ScorePlan, scores: Tensor, positive_scores: Tensor | None = None, by_row: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute the loss and, where an input needs it, its gradients.

    Args:
        plan: the loss, and what it is told of the batch.
        scores: (R, C), at least one column; P ≥ 1.
        positive_scores: (P,), if they are not among ``scores``.
        by_row: whether the loss of each row is wanted, not their sum.

    Returns:
        The scalar loss, or (R,) those of the rows; and log R (P,) without gradient.
    """
    computation = ScoreComputation(plan)
    inputs = (scores, positive_scores)
    if torch.is_grad_enabled() and any(entry is not None and entry.requires_grad for entry in inputs):
        loss: Tensor = _ScoreFunction.apply(computation, by_row, *inputs)
    else:
        computation.run(*inputs, needs_gradient=False)
        loss = _reduced(computation, by_row, scores.shape[0])
    return loss, computation.log_ranks


def _reduced(computation: ScoreComputation, by_row: bool, rows: int) -> Tensor:
    losses, own = computation.losses, computation.plan.positives
    if not by_row:
        return losses.sum()
    if own is None or own.rows is None:
        return losses
    return losses.new_zeros(rows).index_add_(0, own.rows, losses)


class _ScoreFunction(torch.autograd.Function):
    """Computes the gradients in its forward pass and scales them in its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, computation: ScoreComputation, by_row: bool, scores: Tensor, positive_scores: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(*computation.run(scores, positive_scores, needs_gradient=True))
        ctx.dtypes = (scores.dtype, None if positive_scores is None else positive_scores.dtype)
        return _reduced(computation, by_row, scores.shape[0])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        (scale,) = grad_outputs
        return (None, None, *scaled_gradients(ctx, scale))

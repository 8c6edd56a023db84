"""The loss of a matrix of scores as an autograd function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.losses.fused.function import refuse_second_derivative, scaled_gradients
from lightning_croloss.losses.fused.score_plan import ScorePlan
from lightning_croloss.losses.fused.scores import ScoreComputation

#: The loss once more, of scores and positive scores, by operators that have second derivatives.
Again = Callable[[Tensor, Tensor], Tensor]


def loss_of_scores(
    plan: ScorePlan,
    scores: Tensor,
    positive_scores: Tensor | None = None,
    by_row: bool = False,
    again: Again | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the loss and, where an input needs it, its gradients.

    Args:
        plan: the loss, and what it is told of the batch.
        scores: (R, C), at least one column; P ≥ 1.
        positive_scores: (P,), if they are not among ``scores``.
        by_row: whether the loss of each row is wanted, not their sum.
        again: computes the loss where a second derivative is asked for; None = it is refused.

    Returns:
        The scalar loss, or (R,) those of the rows; and log R (P,) without gradient.
    """
    computation = ScoreComputation(plan)
    inputs = (scores, positive_scores)
    if torch.is_grad_enabled() and any(entry is not None and entry.requires_grad for entry in inputs):
        loss: Tensor = _ScoreFunction.apply(computation, by_row, again, *inputs)
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
        ctx: Any,
        computation: ScoreComputation,
        by_row: bool,
        again: Again | None,
        scores: Tensor,
        positive_scores: Tensor | None,
    ) -> Tensor:
        gradients = computation.run(scores, positive_scores, needs_gradient=True)
        ctx.again = again
        ctx.dtypes = (scores.dtype, None if positive_scores is None else positive_scores.dtype)
        ctx.save_for_backward(*gradients, *(() if again is None else (scores, positive_scores)))
        return _reduced(computation, by_row, scores.shape[0])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = grad_outputs
        if not torch.is_grad_enabled():
            return (None, None, None, *scaled_gradients(ctx, scale))
        if ctx.again is None:
            refuse_second_derivative()
        inputs = ctx.saved_tensors[2:]
        value = ctx.again(*inputs)
        wanted = [entry for entry, needed in zip(inputs, ctx.needs_input_grad[3:], strict=True) if needed]
        found = iter(torch.autograd.grad(value, wanted, scale, create_graph=True))
        return (None, None, None, *(next(found) if needed else None for needed in ctx.needs_input_grad[3:]))

"""The fused loss as an autograd function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_croloss.losses.fused.compute import Computation
from lightning_croloss.losses.fused.plan import Plan


def fused_loss(plan: Plan, users: Tensor, positives: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the loss and, where an input needs it, its gradients.

    Args:
        plan: the loss, and what it is told of the batch.
        users: (B, D).
        positives: (B, D).
        candidates: (M, D), at least one.

    Returns:
        The scalar loss, and log R (B,) without gradient.
    """
    computation = Computation(plan)
    inputs = (users, positives, candidates)
    if torch.is_grad_enabled() and any(entry.requires_grad for entry in inputs):
        loss: Tensor = _FusedFunction.apply(computation, *inputs)
    else:
        loss, _ = computation.run(*inputs, needs=(False, False, False))
    return loss, computation.log_ranks


class _FusedFunction(torch.autograd.Function):
    """Computes the gradients in its forward pass and scales them in its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, computation: Computation, users: Tensor, positives: Tensor, candidates: Tensor
    ) -> Tensor:
        loss, gradients = computation.run(users, positives, candidates, needs=tuple(ctx.needs_input_grad[1:]))
        ctx.save_for_backward(*gradients)
        ctx.dtypes = (users.dtype, positives.dtype, candidates.dtype)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fused loss has no second derivative: make the loss with fused=False, "
                "or call backward without create_graph=True"
            )
        (scale,) = grad_outputs
        # a comparison on another device would wait for it
        as_it_is = scale.device.type == "cpu" and float(scale) == 1.0
        gradients: list[Tensor | None] = [None]
        for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True):
            if gradient is not None and not as_it_is:
                gradient = gradient * scale
            gradients.append(None if gradient is None else gradient.to(dtype))
        return tuple(gradients)

"""The fused loss as autograd functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_croloss.losses.fused.compute import Computation
from lightning_croloss.losses.fused.plan import Plan
from lightning_croloss.losses.fused.triton.plan import TritonPlan

if TYPE_CHECKING:
    from lightning_croloss.losses.fused.triton.compute import TritonComputation


def fused_loss(
    plan: Plan | TritonPlan, users: Tensor, positives: Tensor, candidates: Tensor, by_row: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute the loss and, where an input needs it, its gradients.

    Args:
        plan: the loss, and what it is told of the batch.
        users: (B, D).
        positives: (B, D).
        candidates: (M, D), at least one.
        by_row: whether the loss of each row is wanted, not their sum. Its gradients take a second sweep, as
            those of the sum do where the tiling keeps nothing.

    Returns:
        The scalar loss, or (B,); and log R (B,) without gradient.
    """
    computation = _computation_of(plan)
    inputs = (users, positives, candidates)
    needs_gradient = torch.is_grad_enabled() and any(entry.requires_grad for entry in inputs)
    if needs_gradient and not by_row and isinstance(plan, Plan) and plan.tiling.keeps:
        loss: Tensor = _KeptFunction.apply(computation, *inputs)
        return loss, computation.log_ranks
    if needs_gradient:
        losses: Tensor = _TwoSweepsFunction.apply(computation, *inputs)
    else:
        computation.rank(*inputs, needs=(False, False, False))
        losses = computation.losses
    return losses if by_row else losses.sum(), computation.log_ranks


def _computation_of(plan: Plan | TritonPlan) -> Computation | TritonComputation:
    if isinstance(plan, Plan):
        return Computation(plan)
    # whose kernels are compiled where they are imported, and need Triton
    from lightning_croloss.losses.fused.triton.compute import TritonComputation

    return TritonComputation(plan)


class _KeptFunction(torch.autograd.Function):
    """Computes the gradients in its forward pass and scales them in its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, computation: Computation, users: Tensor, positives: Tensor, candidates: Tensor
    ) -> Tensor:
        gradients = computation.run(users, positives, candidates, ctx.needs_input_grad[1:])
        ctx.save_for_backward(*gradients)
        ctx.dtypes = (users.dtype, positives.dtype, candidates.dtype)
        return computation.losses.sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        (scale,) = grad_outputs
        return (None, *scaled_gradients(ctx, scale))


class _TwoSweepsFunction(torch.autograd.Function):
    """Computes the gradients in its backward pass, where the weight of each row's loss is known."""

    @staticmethod
    def forward(
        ctx: Any,
        computation: Computation | TritonComputation,
        users: Tensor,
        positives: Tensor,
        candidates: Tensor,
    ) -> Tensor:
        computation.rank(users, positives, candidates, ctx.needs_input_grad[1:])
        ctx.computation = computation
        ctx.save_for_backward(users, positives, candidates)
        return computation.losses.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        inputs = ctx.saved_tensors
        gradients = ctx.computation.gradients(*inputs, grad_outputs[0], ctx.needs_input_grad[1:])
        pairs = zip(gradients, inputs, strict=True)
        return (None, *(None if grad is None else grad.to(entry.dtype) for grad, entry in pairs))


def scaled_gradients(ctx: Any, scale: Tensor) -> list[Tensor | None]:
    """Return the saved gradients multiplied by that of the loss, in the types that ``ctx.dtypes`` says.

    Args:
        ctx: context of an autograd function whose forward pass has computed the gradients and saved them
            first of all.
        scale: () gradient of the loss, or (R,) of the loss of each row.
    """
    # A comparison on another device would wait for it. What is handed out as it is may become a leaf's
    # gradient, to which later passes add in place: then nobody may need it again.
    as_it_is = scale.dim() == 0 and scale.device.type == "cpu" and float(scale) == 1.0 and not _keeps_graph()
    gradients: list[Tensor | None] = []
    for gradient, dtype in zip(ctx.saved_tensors[: len(ctx.dtypes)], ctx.dtypes, strict=True):
        if gradient is not None and not as_it_is:
            gradient = gradient * (scale.unsqueeze(1) if scale.dim() and gradient.dim() == 2 else scale)
        gradients.append(None if gradient is None else gradient.to(dtype))
    return gradients


def _keeps_graph() -> bool:
    """Return whether the backward pass that is running may run again; True if PyTorch does not say."""
    asked = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return asked is None or bool(asked())


def refuse_second_derivative() -> None:
    """Raise ``RuntimeError`` in a backward pass that is to be differentiated itself."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the fused loss has no second derivative: make the loss with fused=False, "
            "or call backward without create_graph=True"
        )

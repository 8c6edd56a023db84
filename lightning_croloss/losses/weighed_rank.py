"""The weight of a rank as an autograd function, whose gradient is the slope that the weight says itself.

Autograd's own derivative of a weight loses its digits where that is flat, which slopes are written not to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lightning_croloss.common.unread_values import is_transformed

#: The slope in log R of log R (B,) and N, by operators that have derivatives.
Slope = Callable[[Tensor, Tensor], Tensor]


def weighed_rank(
    log_rank: Tensor, value: Tensor, slope: Tensor, num_items: Tensor, slope_of: Slope | None
) -> Tensor:
    """Return ``value`` with the gradient ``slope`` in ``log_rank``.

    Args:
        log_rank: (B,) log R.
        value: (B,) W(R), without gradient.
        slope: (B,) the weight of ∇ log R, without gradient.
        num_items: () or (B,) size of the catalogue N.
        slope_of: computes the slope where a second derivative is asked for; None = it is refused.
    """
    if torch.compiler.is_compiling():
        # which compiles no second derivative: the last factor is 0 and carries the gradient
        return value + slope * (log_rank - log_rank.detach())
    function = _TransformedRank if is_transformed(log_rank) else _WeighedRank
    weighed: Tensor = function.apply(log_rank, value, slope, num_items, slope_of)
    return weighed


class _WeighedRank(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, log_rank: Tensor, value: Tensor, slope: Tensor, num_items: Tensor, slope_of: Slope | None
    ) -> Tensor:
        _keep(ctx, log_rank, slope, num_items, slope_of)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return grad_outputs[0] * _slope(ctx), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:  # type: ignore[override]
        tangent = tangents[0]
        return None if tangent is None else tangent * _slope(ctx)


class _TransformedRank(_WeighedRank):
    """The same for ``torch.func``, in a form that takes longer to call."""

    generate_vmap_rule = True

    @staticmethod
    def forward(  # type: ignore[override]
        log_rank: Tensor, value: Tensor, slope: Tensor, num_items: Tensor, slope_of: Slope | None
    ) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        log_rank, _, slope, num_items, slope_of = inputs
        _keep(ctx, log_rank, slope, num_items, slope_of)


def _keep(ctx: Any, log_rank: Tensor, slope: Tensor, num_items: Tensor, slope_of: Slope | None) -> None:
    ctx.slope_of = slope_of
    ctx.save_for_backward(log_rank, slope, num_items)
    ctx.save_for_forward(log_rank, slope, num_items)


def _slope(ctx: Any) -> Tensor:
    slope: Tensor
    log_rank, slope, num_items = ctx.saved_tensors
    if not torch.is_grad_enabled() and forward_ad.unpack_dual(log_rank).tangent is None:
        return slope  # the usual case: nobody asks for a second derivative
    if ctx.slope_of is None:
        refused: Tensor = _Refused.apply(slope, log_rank)
        return refused
    found: Tensor = ctx.slope_of(log_rank, num_items)
    return found


class _Refused(torch.autograd.Function):
    """A slope that is no derivative of a function of the rank, and so has none itself."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slope: Tensor, log_rank: Tensor) -> Tensor:
        return slope.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        _refuse()

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor | None:  # type: ignore[override]
        _refuse()


def _refuse() -> NoReturn:
    raise RuntimeError(
        "with lambda_weight the loss has no second derivative, as its gradient is that of no function: make "
        "the loss with lambda_weight=0, or call backward without create_graph=True"
    )

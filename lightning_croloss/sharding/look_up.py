"""Look-up of rows that other processes hold, and the gradients' way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_croloss.sharding.messages import swapped
from lightning_croloss.sharding.row_shards import RowShards


@dataclass(frozen=True)
class Route:
    """The way of the rows that this process asks for.

    Attributes:
        position: (n,) for each id asked for, which of the distinct ids it is.
        asked: how many distinct ids are asked of each process.
        answered: how many each process asks of this one.
        rows: (Σ answered,) these rows, counted from this process's first.
    """

    position: Tensor
    asked: list[int]
    answered: list[int]
    rows: Tensor

    @classmethod
    def of(cls, ids: Tensor, shards: RowShards) -> Route:
        """Ask the owners for the rows of ids (n,), each distinct one once.

        Raises:
            ValueError: a process has an id that is no row; on all processes.
        """
        distinct, position = torch.unique(ids.long(), return_inverse=True)  # ascending, so by owner
        wrong = distinct[(distinct < 0) | (distinct >= shards.num_rows)]
        starts = [shards.start_of(rank) for rank in range(shards.num_shards + 1)]
        bounds = torch.searchsorted(distinct, torch.tensor(starts, dtype=distinct.dtype, device=ids.device))
        found = wrong[:1] if len(wrong) else distinct.new_zeros(1)
        flags = torch.tensor([len(wrong), int(found)], device=bounds.device).expand(shards.num_shards, 2)
        header = torch.cat([bounds.diff().unsqueeze(1), flags], dim=1)
        received = swapped(header).tolist()
        for rank, (_, number, first) in enumerate(received):
            if number:
                raise no_such_row(first, shards.num_rows, f" on process {rank}")
        asked, answered = header[:, 0].tolist(), [count for count, _, _ in received]
        return cls(position, asked, answered, swapped(distinct, asked, answered) - shards.start)


def no_such_row(row: int, num_rows: int, where: str = "") -> ValueError:
    """Return the error that an id is out of range."""
    return ValueError(f"ids must be rows of the table, 0 … {num_rows - 1:,}, got {row:,}{where}")


def looked_up(weight: Tensor, ids: Tensor, shards: RowShards, padding: int | None, sparse: bool) -> Tensor:
    """Return the rows of ids, (…, D), whoever holds them; every process must call it.

    Args:
        weight: (own rows, D).
        ids: (…) any number of rows of the table, which may be none.
        shards: of the table, of at least two processes.
        padding: a row that gets no gradient.
        sparse: whether the gradient of ``weight`` is sparse.

    Raises:
        ValueError: a process has an id that is no row; on all processes.
    """
    route = Route.of(ids.flatten(), shards)
    own_padding = None if padding is None else padding - shards.start
    rows: Tensor = _LookUp.apply(weight, route, own_padding, sparse)
    return rows.view(*ids.shape, weight.shape[1])


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, route: Route, padding: int | None, sparse: bool) -> Tensor:
        ctx.route, ctx.padding, ctx.sparse, ctx.shape = route, padding, sparse, weight.shape
        return swapped(weight[route.rows], route.answered, route.asked)[route.position]

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        route: Route = ctx.route
        asked = grad.new_zeros(sum(route.asked), grad.shape[1]).index_add_(0, route.position, grad)
        values = swapped(asked, route.asked, route.answered).div_(len(route.asked))
        rows = route.rows
        if ctx.padding is not None:
            kept = rows != ctx.padding
            rows, values = rows[kept], values[kept]
        if ctx.sparse:
            whole = torch.sparse_coo_tensor(rows.unsqueeze(0), values, ctx.shape, check_invariants=False)
        else:
            whole = values.new_zeros(ctx.shape).index_add_(0, rows, values)
        return whole, None, None, None


def own_rows(weight: Tensor, shards: RowShards, padding: int | None, first: int = 0) -> Tensor:
    """Return the rows of this process from its ``first`` on, with gradient as of the mean over processes."""
    rows: Tensor = _OwnRows.apply(weight, shards, padding, first)
    return rows


class _OwnRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, shards: RowShards, padding: int | None, first: int) -> Tensor:
        ctx.shards, ctx.padding, ctx.first, ctx.rows = shards, padding, first, len(weight)
        return weight[first:]

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        whole = grad.new_empty(ctx.rows, *grad.shape[1:])
        whole[: ctx.first] = 0.0
        torch.div(grad, ctx.shards.num_shards, out=whole[ctx.first :])
        if ctx.padding is not None and 0 <= ctx.padding - ctx.shards.start < ctx.rows:
            whole[ctx.padding - ctx.shards.start] = 0.0
        return whole, None, None, None

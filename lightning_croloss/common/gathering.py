"""Rows of a batch, gathered from all processes of ``torch.distributed``, with gradient where there is one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def row_counts(rows: int, device: torch.device) -> list[int]:
    """Return the number of rows of each process, the same on every process."""
    counts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([rows], device=device))
    return [int(count) for count in torch.cat(counts).tolist()]


def gathered(values: Tensor, rows: int) -> Tensor:
    """Return (processes · rows, …): the values of all processes, those of each padded with 0.

    Args:
        values: (b, …) of this process.
        rows: the largest b of all processes.
    """
    padding = values.new_zeros(rows - values.shape[0], *values.shape[1:])
    padded = torch.cat([values, padding]).contiguous()
    whole: Tensor = _Gather.apply(padded) if values.requires_grad else _all_gather(padded)
    return whole


def _all_gather(values: Tensor) -> Tensor:
    parts = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, values)
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """Gathers with gradient: each process's part gets the sum of what all processes' losses say of it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.rows = values.shape[0]
        return _all_gather(values)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        total = grad_outputs[0].contiguous().clone()
        distributed.all_reduce(total)
        first = distributed.get_rank() * ctx.rows
        return total[first : first + ctx.rows]

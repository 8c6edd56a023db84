"""ShardSums: what rows need of all negatives, where each process has the scores of its own items only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from lightning_croloss.losses.kernels import FAR_BELOW


@dataclass(frozen=True)
class ShardSums:
    """Adds up over the processes, all of which have the same rows and each of which has other negatives.

    Attributes:
        num_columns: number of negatives of all processes.
    """

    num_columns: int

    def sum(self, own: Tensor) -> Tensor:
        """Return the sum (B,) over the processes; its gradient is that of all processes' losses."""
        total: Tensor = _Sum.apply(own)
        return total

    @torch.no_grad()
    def largest(self, own: Tensor) -> Tensor:
        """Return the largest (B,) of the processes, without gradient."""
        largest = own.detach().clone()
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return largest

    @torch.no_grad()
    def best_and_lowest(self, scores: Tensor, number: int) -> Tensor:
        """Return the best ``number`` of each row of all processes, and the lowest score of each process.

        Args:
            scores: (B, M) of this process, ``FAR_BELOW`` where they are ignored.
            number: how many are wanted.

        Returns:
            (B, C) in no order, with ``FAR_BELOW`` where there are not so many.
        """
        best = scores.new_full((len(scores), number + 1), FAR_BELOW)
        found = scores.topk(min(number, scores.shape[1]), dim=1).values
        best[:, : found.shape[1]] = found
        lowest = scores.masked_fill(scores < 0.5 * FAR_BELOW, float("inf")).amin(1)
        best[:, -1] = lowest.where(lowest < found[:, -1], FAR_BELOW)  # not one that is there already
        parts = [torch.empty_like(best) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, best)
        return torch.cat(parts, dim=1)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

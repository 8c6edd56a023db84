"""One gradient of a table in a step, to which each look-up adds its rows where they belong.

Left alone, each look-up makes a gradient as large as the table, of zeros but for a few rows, and autograd
adds them all up. Much of a step with few negatives in a large table would be that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_croloss.common.counting_ids import counting_ids
from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.common.uncompiled import uncompiled
from lightning_croloss.sharding.embedding import IdEmbedding, ShardedEmbedding
from lightning_croloss.sharding.padded import PaddedEmbedding

#: (k,) ids and the gradients (k, D) of their rows, one of each look-up.
Collected = list[tuple[Tensor, Tensor]]


class SpareGradients:
    """The memory of the gradients of tables, from one step to the next."""

    def __init__(self) -> None:
        self._memory: dict[int, SpareMemory] = {}

    def of(self, table: IdEmbedding) -> SpareMemory:
        """Return the memory of a table's gradient."""
        return self._memory.setdefault(id(table), SpareMemory())

    def forget(self) -> None:
        """Give all memory back."""
        self._memory.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory out of copies and pickles."""
        return {"_memory": {}}


class RowIds:
    """The numbers of a table's rows, from one step to the next: what was found out of them stays known."""

    def __init__(self) -> None:
        self._ids: Tensor | None = None

    def of(self, table: Tensor) -> Tensor:
        """Return 0 … R − 1 for a table (R, D), not to be changed."""
        ids = self._ids
        if ids is None or len(ids) != len(table) or ids.device != table.device:
            ids = self._ids = counting_ids(0, len(table), table.device)
        return ids

    def forget(self) -> None:
        """Give the memory back."""
        self._ids = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory out of copies and pickles."""
        return {"_ids": None}


def one_gradient(
    weight: Tensor, padding: int | None, memory: SpareMemory
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Let all look-ups in a table of vectors, made of whatever, add to one gradient of it.

    Each is made from a zero that comes with the table, so that autograd comes there after all of them, on
    whatever devices the rest of the step is, and only where there was a look-up.

    Args:
        weight: the table (R, D), with gradient.
        padding: the row that gets none of it.
        memory: for the gradient, where the look-ups make all of it.

    Returns:
        The table, for whatever else makes a gradient of it, and what looks ids (…) up.
    """
    collected: Collected = []
    same, zero = _Table.apply(weight, collected, padding, memory)
    return same, partial(_rows, weight, zero, collected, padding)


@contextmanager
def whole_rows(table: IdEmbedding | None) -> Iterator[Tensor | None]:
    """Let the look-ups in a table add to the gradient that a loss has of the whole table.

    Only a step that takes what this yields for all its candidates may be within.

    Args:
        table: the table; None = no such step.

    Yields:
        The table's weight, to be given to the loss; None without a table.
    """
    if table is None:
        yield None
        return
    with _collecting(table, SpareMemory()) as (weight, _):
        yield weight


@contextmanager
def looked_up_rows(tables: Iterable[IdEmbedding], spare: SpareGradients) -> Iterator[list[Tensor]]:
    """Let all look-ups in tables add to one gradient of each, where nothing else makes a gradient of them.

    Something else may, but costs a sum of two gradients.

    Args:
        tables: the tables.
        spare: the memory of their gradients.

    Yields:
        Zeros, (), through which the gradients of tables in shards come: all are to be added to the loss.
    """
    with ExitStack() as stack:
        zeros = []
        for table in tables:
            _, zero = stack.enter_context(_collecting(table, spare.of(table)))
            if zero is not None:
                zeros.append(zero)
        yield zeros


def is_plain(table: nn.Module | None) -> bool:
    """Tell whether the look-ups in a table may add to one gradient, a loss's of all rows or their own.

    On a CPU, but in float16, whose sparse gradients, of tables in shards, cannot be added up there. An
    accelerator clears a whole table in no time.
    """
    if type(table) not in (nn.Embedding, PaddedEmbedding, ShardedEmbedding):
        return False
    assert isinstance(table, IdEmbedding)
    able = table.weight.is_cpu and table.weight.dtype != torch.float16 and table.weight.requires_grad
    own = getattr(table, "max_norm", None) is not None or getattr(table, "scale_grad_by_freq", False)
    # pruning and weight_norm make another weight at each look-up
    return able and not own and "forward" not in vars(table) and "weight" in table._parameters


def _in_shards(table: IdEmbedding) -> bool:
    """Tell whether some rows lie in other processes."""
    return isinstance(table, ShardedEmbedding) and table.shards.num_shards > 1


@contextmanager
def _collecting(table: IdEmbedding, memory: SpareMemory) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Let the look-ups in a table wait with their gradients for that of what this yields.

    Args:
        table: the table.
        memory: for the gradient, where the look-ups make all of it.

    Yields:
        The weight, and of a table in shards a zero (), through which its gradient comes.
    """
    if _in_shards(table):
        # rows come from other processes, their gradients go there: what arrives here is a sparse gradient,
        # which autograd adds to the dense one in place
        before, table.sparse = table.sparse, True
        try:
            yield _Table.apply(table.weight, [], table.padding_idx, memory)
        finally:
            table.sparse = before
        return
    weight, look_up = one_gradient(table.weight, table.padding_idx, memory)
    table.forward = look_up  # type: ignore[method-assign, assignment]
    try:
        yield weight, None
    finally:
        del table.forward


@uncompiled
def _rows(weight: Tensor, zero: Tensor, collected: Collected, padding: int | None, ids: Tensor) -> Tensor:
    """Look rows of a table up, and leave the gradients of them in a list."""
    found: Tensor = _LookUp.apply(weight, zero, ids, collected, padding)
    return found


class _LookUp(torch.autograd.Function):
    """Rows of a table; their gradients are put into a list, but those that are derived once more."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, zero: Tensor, ids: Tensor, collected: Collected, padding: int | None
    ) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.collected, ctx.padding, ctx.num_rows = collected, padding, len(weight)
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        (ids,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: what is added up in place has no derivative
            padding = -1 if ctx.padding is None else ctx.padding
            dense = torch.ops.aten.embedding_dense_backward(gradient, ids, ctx.num_rows, padding, False)
            return dense, None, None, None, None
        ctx.collected.append((ids.reshape(-1), gradient.reshape(-1, gradient.shape[-1])))
        return None, None, None, None, None


class _Table(torch.autograd.Function):
    """A table's weight and a zero; in the backward pass what was collected is added to the gradient."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, collected: Collected, padding: int | None, memory: SpareMemory
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.like, ctx.collected, ctx.padding, ctx.memory = weight.detach(), collected, padding, memory
        return torch.ops.aten.alias(weight), weight.new_zeros(())

    @staticmethod
    def backward(
        ctx: Any, whole: Tensor | None, zero: Tensor | None
    ) -> tuple[Tensor | None, None, None, None]:
        if torch.is_grad_enabled() or (whole is None and zero is None and not ctx.collected):
            return whole, None, None, None
        gradient = ctx.memory.take(ctx.like).zero_() if whole is None else whole.contiguous()
        padding = None if ctx.padding is None else gradient[ctx.padding].clone()
        for ids, rows in ctx.collected:
            gradient.index_add_(0, ids, rows)
        if padding is not None:
            gradient[ctx.padding] = padding
        ctx.collected.clear()
        return gradient, None, None, None

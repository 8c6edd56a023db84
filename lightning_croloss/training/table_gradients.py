"""One gradient of a table whose rows are all candidates: by the loss whole, by each look-up a few rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_croloss.sharding.embedding import IdEmbedding, ShardedEmbedding
from lightning_croloss.sharding.padded import PaddedEmbedding


@contextmanager
def whole_rows(table: IdEmbedding | None) -> Iterator[Tensor | None]:
    """Let the look-ups in a table have sparse gradients while a loss has a dense one of the whole table.

    Else each look-up makes a gradient as large as the table, of zeros, and autograd adds them all up. As it
    is, autograd adds the rows of the look-ups to the loss's gradient in place, and what arrives at the weight
    is dense as before. Only a step that takes what this yields for all its candidates may be within.

    Args:
        table: the table; None = no such step.

    Yields:
        The table's weight, to be given to the loss; None without a table.
    """
    if table is None:
        yield None
        return
    # Autograd goes backward through what was made last first, and adds up in place only what comes last, if
    # that is dense: so this one, through which the loss's gradient comes, is to be made first.
    weight = torch.ops.aten.alias(table.weight)
    before, table.sparse = table.sparse, True
    try:
        yield weight
    finally:
        table.sparse = before


def is_plain(table: nn.Module | None) -> bool:
    """Tell whether the weight of a table of items can be a loss's candidates as it is.

    On a CPU, but in float16, whose sparse gradients cannot be added up there. An accelerator would have to be
    waited for in each step, as it adds up equal rows first, and clears a whole table in no time.
    """
    if type(table) not in (nn.Embedding, PaddedEmbedding, ShardedEmbedding):
        return False
    assert isinstance(table, IdEmbedding)
    able = table.weight.is_cpu and table.weight.dtype != torch.float16
    return able and getattr(table, "max_norm", None) is None and table.weight.requires_grad

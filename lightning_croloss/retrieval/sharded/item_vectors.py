"""Vectors of single items, from the processes that hold them."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from lightning_croloss.common.gathering import gathered
from lightning_croloss.retrieval.sharded.item_shards import ItemShards
from lightning_croloss.retrieval.sharded.rounds import largest


def item_vectors(ids: Tensor, item_matrix: Tensor, shards: ItemShards) -> Tensor:
    """Return the vectors (B, D) of items, zeros for padding, without gradient.

    All processes call it together, each for its own ids, perhaps none. For few ids: each process holds those
    of all.

    Args:
        ids: (B,) item ids, 0 = padding.
        item_matrix: (n, D) the items of this process, by ascending ids, without the row of padding.
        shards: which process holds which items.
    """
    shards.check(item_matrix)
    most = len(ids) if len(shards.sizes) == 1 else largest(len(ids), ids.device)
    with torch.no_grad():
        wanted = shards.local(ids if len(shards.sizes) == 1 else gathered(ids, most))
        vectors = item_matrix.new_zeros(len(wanted), item_matrix.shape[1])
        vectors[wanted > 0] = item_matrix[wanted[wanted > 0] - 1]
        if len(shards.sizes) > 1:
            distributed.all_reduce(vectors)
        start = shards.rank * most
        return vectors[start : start + len(ids)]

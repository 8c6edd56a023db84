"""Item kNN: the nearest neighbours of the items in the history."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.errors import MissingExtraError


class ItemKNN:
    """Items that training users had together with those of the history, by the cosine of their users.

    Where neighbours do not tell items apart, the more popular comes first.

    Args:
        similarity: what :func:`item_similarity` returned, or :func:`nearest_items` of it, no fewer.
        counts: (num_items,) training events of each item.
        neighbours: number of nearest items that an item of the history votes for.
        recent: number of events of the history that vote, the last ones.
    """

    def __init__(self, similarity: Any, counts: Tensor, neighbours: int, recent: int) -> None:
        self.votes = nearest_items(similarity, neighbours)
        self.popularity = counts.double() / counts.max().clamp(min=1) * 1e-6
        self.recent = recent

    def scores(self, histories: Tensor) -> Tensor:
        """Return the sums of the votes of the recent items."""
        from scipy.sparse import csr_matrix

        recent = histories[:, -self.recent :]
        rows, columns = (recent != 0).nonzero(as_tuple=True)
        items = recent[rows, columns] - 1
        shape = len(recent), self.votes.shape[0]
        history = csr_matrix((np.ones(len(rows)), (rows.numpy(), items.numpy())), shape=shape)
        return torch.from_numpy((history @ self.votes).toarray()) + self.popularity


def item_similarity(data: RetrievalDataModule) -> Any:
    """Return the cosines between the sets of users of the items, in training, as a sparse (N, N) matrix.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        from scipy.sparse import csr_matrix, diags
    except ModuleNotFoundError as error:
        raise MissingExtraError("the baseline item kNN", "zoo") from error
    events, chosen = data.interactions, data.rows.training_events
    users, items = events.users[chosen].numpy(), events.items[chosen].numpy() - 1
    had = csr_matrix((np.ones(len(users)), (users, items)), shape=(data.num_users + 1, data.num_items))
    had.data[:] = 1.0  # an item that a user had twice counts once
    together = (had.T @ had).tocsr()
    sizes = together.diagonal()
    scale = diags(1.0 / np.sqrt(np.maximum(sizes, 1.0)))
    entries = (scale @ together @ scale).tocoo()
    others = entries.row != entries.col
    return csr_matrix((entries.data[others], (entries.row[others], entries.col[others])), entries.shape)


def nearest_items(similarity: Any, neighbours: int) -> Any:
    """Keep of each row the largest entries; of equal ones those of the smaller ids."""
    from scipy.sparse import csr_matrix

    entries = similarity.tocoo()
    sizes = np.bincount(entries.row, minlength=similarity.shape[0])
    if sizes.max(initial=0) <= neighbours:
        return similarity
    order = np.lexsort((entries.col, -entries.data, entries.row))
    starts = np.cumsum(sizes) - sizes
    position = np.arange(len(order)) - starts[entries.row[order]]
    kept = order[position < neighbours]
    return csr_matrix((entries.data[kept], (entries.row[kept], entries.col[kept])), shape=similarity.shape)

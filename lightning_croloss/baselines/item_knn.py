"""Item kNN: the nearest neighbours of the items in the history."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.data import RetrievalDataModule
from lightning_croloss.errors import MissingExtraError

#: Pairs of items that are compared at a time, of about 60 bytes each.
BLOCK = 2**21
#: Neighbours that are kept of all items together, at most: a few GiB.
MOST = 200_000_000


class TooManyNeighboursError(ValueError):
    """The neighbours of all items would take too much memory."""


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


def item_similarity(data: RetrievalDataModule, neighbours: int | None = None) -> Any:
    """Return the cosines between the sets of users of the items, in training, as a sparse (N, N) matrix.

    It is made block by block, so that a user of many items takes no more memory than its neighbours do.

    Args:
        data: the data.
        neighbours: how many of the nearest items of each item are kept; None = all.

    Raises:
        MissingExtraError: scipy is not installed.
        TooManyNeighboursError: there are more neighbours than :data:`MOST` to keep.
    """
    had = _items_of_users(data)
    from scipy.sparse import diags, vstack

    neighbours = data.num_items if neighbours is None else neighbours
    pairs = _pairs(had)
    if (kept := int(np.minimum(pairs, neighbours).sum())) > MOST:
        raise TooManyNeighboursError(
            f"the baseline item kNN would keep {kept:,} neighbours of {data.num_items:,} items, and more "
            f"than {MOST:,} take too much memory"
        )
    users_of = had.T.tocsr()
    sizes = np.asarray(had.sum(0)).ravel()
    roots = 1.0 / np.sqrt(np.maximum(sizes, 1.0))
    found, blocks = [], np.cumsum(pairs) // BLOCK
    for first, stop in _runs(blocks):
        together = (diags(roots[first:stop]) @ (users_of[first:stop] @ had) @ diags(roots)).tocoo()
        found.append(nearest_items(_without_self(together, first), neighbours))
    return vstack(found, format="csr")


def _items_of_users(data: RetrievalDataModule) -> Any:
    """Return which users had which items in training, as a sparse (num_users + 1, N) matrix of ones."""
    try:
        from scipy.sparse import csr_matrix
    except ModuleNotFoundError as error:
        raise MissingExtraError("the baseline item kNN", "zoo") from error
    events, chosen = data.interactions, data.rows.training_events
    users, items = events.users[chosen].numpy(), events.items[chosen].numpy() - 1
    had = csr_matrix((np.ones(len(users)), (users, items)), shape=(data.num_users + 1, data.num_items))
    had.data[:] = 1.0  # an item that a user had twice counts once
    return had


def _pairs(had: Any) -> Any:
    """Return (N,) of how many items each item is a neighbour, at most."""
    users = np.diff(had.indptr)
    entries = had.tocoo()
    counts = np.bincount(entries.col, weights=users[entries.row], minlength=had.shape[1])
    return np.minimum(counts, had.shape[1]).astype(np.int64)


def _runs(blocks: Any) -> Iterator[tuple[int, int]]:
    """Yield where each run of equal numbers begins and where it ends."""
    starts = np.flatnonzero(np.diff(blocks, prepend=-1)).tolist()
    yield from pairwise([*starts, len(blocks)])


def _without_self(entries: Any, first: int) -> Any:
    from scipy.sparse import csr_matrix

    others = entries.row + first != entries.col
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

"""The best items of users' interests, by an exact product or a faiss index. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
#: The most scores that an exact search holds at a time.
TILE_ELEMENTS = 2**24


def exact_search(interests: Scores, vectors: Scores, n: int, excluded: list[Ids]) -> list[tuple[Ids, Scores]]:
    """Return for each user the n items of highest score, exactly.

    Args:
        interests: (B, K, D); the score of an item is the maximum over the K interests.
        vectors: (N, D); row i is item id i + 1.
        n: how many items.
        excluded: for each user ids never to return.

    Returns:
        for each user ids and scores, by descending score, equal scores by ascending id; fewer than n where no
        more are left.
    """
    users, num_interests, dim = interests.shape
    step = max(1, TILE_ELEMENTS // (num_interests * len(vectors)))
    found = []
    for first in range(0, users, step):
        part = interests[first : first + step]
        scores = (part.reshape(-1, dim) @ vectors.T).reshape(len(part), num_interests, -1).max(1)
        for row, ids in zip(scores, excluded[first : first + step], strict=True):
            row[ids - 1] = -np.inf
            found.append(_best(row, n))
    return found


def index_search(interests: Scores, index: Any, n: int, excluded: list[Ids]) -> list[tuple[Ids, Scores]]:
    """Return for each user the n items of highest score that an index finds; exactly, if the index is exact.

    The best of each interest are merged: an item's maximum is among the best of the interest it belongs to.

    Args:
        interests: as for :func:`exact_search`.
        index: a faiss index of inner products over the items, id i + 1 at position i.
        n: how many items.
        excluded: for each user ids never to return.
    """
    users, _, dim = interests.shape
    wanted = min(n + max(map(len, excluded), default=0), index.ntotal)
    scores, positions = index.search(np.ascontiguousarray(interests.reshape(-1, dim)), wanted)
    scores, positions = scores.reshape(users, -1), positions.reshape(users, -1)
    found = []
    for row, ids, out in zip(scores, positions + 1, excluded, strict=True):
        kept = (ids > 0) & ~np.isin(ids, out)
        row, ids = row[kept], ids[kept]
        order = np.lexsort((ids, -row))
        row, ids = row[order], ids[order]
        first_of_each = np.sort(np.unique(ids, return_index=True)[1])
        found.append((ids[first_of_each][:n], row[first_of_each][:n]))
    return found


def _best(scores: Scores, n: int) -> tuple[Ids, Scores]:
    """Return ids and scores of the n highest of ``scores`` (N,), -inf never, the smaller id of equal ones."""
    n = min(n, int((scores > -np.inf).sum()))
    if n == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    threshold = np.partition(scores, len(scores) - n)[len(scores) - n]
    above = np.flatnonzero(scores > threshold)
    tied = np.flatnonzero(scores == threshold)[: n - len(above)]
    chosen = np.concatenate([above, tied])
    chosen = chosen[np.lexsort((chosen, -scores[chosen]))]
    return chosen + 1, scores[chosen]

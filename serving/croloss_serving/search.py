"""The best items of users' interests, by an exact product or a faiss index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from croloss_serving.index import is_exact, widening

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
#: The most scores that an exact search holds at a time.
TILE_ELEMENTS = 2**24
#: The share of all items up to which an index is asked.
INDEX_SHARE = 1 / 4


def exact_search(interests: Scores, vectors: Scores, n: int, excluded: list[Ids]) -> list[tuple[Ids, Scores]]:
    """Return for each user the n items of highest score, exactly.

    Args:
        interests: (B, K, D); the score of an item is the maximum over the K interests.
        vectors: (N, D); row i is item id i + 1.
        n: how many items.
        excluded: for each user distinct ids never to return.

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


def index_search(
    interests: Scores, vectors: Scores, index: Any, n: int, excluded: list[Ids]
) -> list[tuple[Ids, Scores]]:
    """Return for each user the n items of highest score that an index finds; exactly, if the index is exact.

    Nobody gets fewer than n items while there are more: a user to whom the index gives too few is searched
    again more widely, and at last exactly. What a user excludes widens the search of this user alone.

    Args:
        interests: as for :func:`exact_search`.
        vectors: as for :func:`exact_search`; those that the index was built of.
        index: a faiss index of inner products over the items, id i + 1 at position i.
        n: how many items.
        excluded: for each user distinct ids never to return.
    """
    # one more than may be needed, to see whether others have the score of the last
    widths = np.array([n + len(ids) + 1 for ids in excluded], dtype=np.int64)
    found: dict[int, tuple[Ids, Scores]] = {}
    for users, width in _alike(widths, len(vectors)):
        for parameters in widening(index, width):
            users = [user for user in users if user not in found]
            step = max(1, TILE_ELEMENTS // (interests.shape[1] * width))
            for first in range(0, len(users), step):
                part = users[first : first + step]
                lists = _searched(interests[part], index, width, parameters)
                for user, (scores, ids) in zip(part, lists, strict=True):
                    best = _merged(scores, ids, n, excluded[user], is_exact(index))
                    if best is not None and len(best[0]) >= min(n, len(vectors) - len(excluded[user])):
                        found[user] = best
    rest = [user for user in range(len(interests)) if user not in found]
    if rest:
        exact = exact_search(interests[rest], vectors, n, [excluded[user] for user in rest])
        found.update(zip(rest, exact, strict=True))
    return [found[user] for user in range(len(interests))]


def _alike(widths: Ids, num_items: int) -> Iterator[tuple[list[int], int]]:
    """Yield groups of users who need about as many items of an index, and that number.

    The widths of a group differ by less than a factor of two. Users who need a large part of all items are in
    no group: for them an exact search costs no more.
    """
    sizes = np.where(widths <= INDEX_SHARE * num_items, np.ceil(np.log2(widths)), -1)
    for size in np.unique(sizes[sizes >= 0]):
        users = np.flatnonzero(sizes == size)
        yield users.tolist(), int(widths[users].max())


def _searched(interests: Scores, index: Any, width: int, parameters: Any) -> Iterator[tuple[Scores, Ids]]:
    """Yield for each user what an index finds: scores and ids (K, width), 0 for nothing."""
    users, num_interests, dim = interests.shape
    queries = np.ascontiguousarray(interests.reshape(-1, dim))
    scores, positions = index.search(queries, width, params=parameters)
    yield from zip(
        scores.reshape(users, num_interests, width),
        positions.reshape(users, num_interests, width) + 1,
        strict=True,
    )


def _merged(scores: Scores, ids: Ids, n: int, excluded: Ids, exact: bool) -> tuple[Ids, Scores] | None:
    """Merge the lists (K, width) of a user's interests: its n best by descending score, then ascending id.

    An item's maximum over the interests is among the best of the interest that it belongs to. Of an exact
    index the outcome is None if items beyond the lists may have the score of the last one: the index does not
    say which of equal ones it leaves out.
    """
    beyond = scores[:, -1].max()
    row, flat = scores.reshape(-1), ids.reshape(-1)
    kept = (flat > 0) & ~np.isin(flat, excluded)
    row, flat = row[kept], flat[kept]
    order = np.lexsort((flat, -row))
    row, flat = row[order], flat[order]
    first_of_each = np.sort(np.unique(flat, return_index=True)[1])[:n]
    row, flat = row[first_of_each], flat[first_of_each]
    if exact and len(row) and row[-1] <= beyond:
        return None
    return flat, row


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

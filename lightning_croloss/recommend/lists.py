"""From ids and scores to what is recommended to each user. Imports no torch, for serving."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lightning_croloss.recommend.item_table import ItemTable
from lightning_croloss.recommend.results import UserRecommendations

#: The ids (n,) and scores (n,) of the items for one user, best first.
Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]


def check_n(n: int, largest: int, what: str = "items") -> None:
    """Raise ``ValueError`` if ``n`` is outside 1 … ``largest``, which is the number of ``what``."""
    if not 1 <= n <= largest:
        raise ValueError(
            f"n must be in 1 … {largest}, the number of {what}, got {n}: choose how many to return"
        )


def popular_items(items: ItemTable, n: int, allowed: NDArray[np.int64] | None) -> Ranked:
    """Return the n items with the most training events, of equal ones the smaller id, and those numbers.

    Fewer where no more are allowed, none if the training events are not known.

    Args:
        items: the items.
        n: how many.
        allowed: ids of the only items to choose from, in ascending order; None = all.
    """
    if items.counts is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    ids = np.arange(1, len(items) + 1) if allowed is None else allowed
    best = ids[np.argsort(-items.counts[ids - 1], kind="stable")[:n]]
    return best, items.counts[best - 1].astype(np.float32)


def user_recommendations(
    items: ItemTable, ranked: Ranked, unknown: int = 0, fallback: bool = False
) -> UserRecommendations:
    """Return the items recommended to one user, as tokens with titles.

    Args:
        items: the items.
        ranked: the ids and scores of those recommended; ids of 0 at the end stand for nothing.
        unknown: number of tokens of the history that are not known.
        fallback: whether these are the popular items.
    """
    ids, scores = (values[: int((ranked[0] > 0).sum())] for values in ranked)
    titles = None if items.titles is None else [items.titles[i - 1] for i in ids.tolist()]
    return UserRecommendations(items.vocabulary.decode(ids), titles, scores.tolist(), unknown, fallback)


def with_fallback(
    items: ItemTable,
    histories: Sequence[Sequence[int]],
    unknown: Sequence[int],
    found: Iterable[Ranked],
    popular: Ranked,
) -> list[UserRecommendations]:
    """Return what is recommended to each user: the popular items where nothing of the history is known.

    Args:
        items: the items.
        histories: for each user the known ids of its history.
        unknown: for each user the number of tokens that are not known.
        found: for each user the best items by the model.
        popular: the popular items.
    """
    return [
        user_recommendations(items, best if history else popular, number, fallback=not history)
        for history, number, best in zip(histories, unknown, found, strict=True)
    ]

"""The most popular items, for users of whom nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from croloss_serving.recommend.item_table import ItemTable

#: The ids (n,) and scores (n,) of the items for one user, best first.
Ranked = tuple[NDArray[np.int64], NDArray[np.float32]]


class PopularItems:
    """The items in the order of their training events, of equal ones the smaller id first.

    There are none if the training events are not known.

    Args:
        items: the items.
        allowed: ids of the only items to choose from, in ascending order; None = all.
    """

    def __init__(self, items: ItemTable, allowed: NDArray[np.int64] | None = None) -> None:
        self._items = items
        self._allowed = allowed

    @cached_property
    def _order(self) -> Ranked:
        """All of them; sorted when first needed, since most calls need none."""
        counts = self._items.counts
        if counts is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        ids = np.arange(1, len(self._items) + 1) if self._allowed is None else self._allowed
        best = ids[np.argsort(-counts[ids - 1], kind="stable")]
        return best, counts[best - 1].astype(np.float32)

    def best(self, n: int, excluded: Sequence[int] = ()) -> Ranked:
        """Return the n most popular items and their training events; fewer where no more are left.

        Args:
            n: how many.
            excluded: ids of items to leave out.
        """
        first = n + len(excluded)
        ids, counts = self._order[0][:first], self._order[1][:first]
        kept = ~np.isin(ids, np.asarray(excluded, dtype=np.int64))
        return ids[kept][:n], counts[kept][:n]

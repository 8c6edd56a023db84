"""Made-up events over a large catalogue."""

from __future__ import annotations

import functools

import numpy as np

from lightning_croloss.data import Interactions, RetrievalDataModule, Vocabulary


class SyntheticData(RetrievalDataModule):
    """Users with as many events each, of items drawn with a long tail.

    Args:
        num_users: number of users.
        num_items: size of the catalogue.
        events: events of each user.
        batch_size: rows of a training batch.
    """

    def __init__(self, num_users: int, num_items: int, events: int, batch_size: int) -> None:
        super().__init__(batch_size=batch_size, max_history=50, seed=0)
        self.size = num_users, num_items, events

    def load(self) -> Interactions:
        """Return the events, made once in a process."""
        return _events(*self.size)


@functools.cache
def _events(num_users: int, num_items: int, events: int) -> Interactions:
    random = np.random.default_rng(0)
    # the cube of a uniform number: the first tenth of the items has half of the events
    items = 1 + (num_items * random.random(num_users * events) ** 3).astype(np.int64)
    return Interactions.from_ids(
        np.repeat(np.arange(1, num_users + 1), events),
        items,
        Vocabulary([f"u{number}" for number in range(num_users)]),
        Vocabulary([f"i{number}" for number in range(num_items)]),
    )

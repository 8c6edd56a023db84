"""NextTargets: targets of training that lie further ahead than the next event."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_croloss.common.mixing import mixed
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits import TargetRows

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)


class NextTargets:
    """Draws the targets of a history among the next ones that its user has in training.

    A draw follows from the seed, the epoch, the user and how many events it had before, and from nothing
    else: so it is the same in any batch and process, whichever users that has, and in a resumed run.

    Args:
        interactions: the events.
        rows: the targets of training, one each: no other event is ever drawn.
        window: among how many targets is drawn, that of the row being the first; fewer at the end of a user.
        count: how many different ones are drawn, fewer where there are fewer.
    """

    def __init__(self, interactions: Interactions, rows: TargetRows, window: int, count: int) -> None:
        self.window = window
        self.count = count
        self._interactions = interactions
        self._events = rows.first.sort().values
        users = interactions.users[self._events]
        self._ends = torch.searchsorted(users, users, right=True)
        self._begins = torch.searchsorted(users, users)
        self.begin_epoch(0, 0)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Draw from now on as in this epoch."""
        self._start = mixed(mixed(np.array([seed % 2**64], np.uint64)) + np.uint64(epoch))

    def draw(self, first: Tensor) -> Tensor:
        """Return the targets (B, count) of rows with these targets (B,), as positions; −1 = no more."""
        number = torch.searchsorted(self._events, first)
        ahead = torch.arange(self.window)
        there = number.unsqueeze(1) + ahead < self._ends[number].unsqueeze(1)
        keys = torch.from_numpy(self._keys(first)).masked_fill(~there, torch.inf)
        chosen = keys.argsort(dim=1)[:, : self.count]
        found = self._events[(number.unsqueeze(1) + chosen).clamp(max=len(self._events) - 1)]
        return found.where(there.gather(1, chosen), -1)

    def expected_counts(self, items: Tensor, num_items: int) -> Tensor:
        """Return how often each item is a target in an epoch on average, (num_items + 1,) float64.

        Args:
            items: (E,) the items of all events.
            num_items: size of the catalogue.
        """
        number = torch.arange(len(self._events))
        ahead = (self._ends - number).clamp(max=self.window)
        share = ahead.clamp(max=self.count).double() / ahead
        sums = torch.cat([share.new_zeros(1), share.cumsum(0)])
        earliest = torch.maximum(number - self.window + 1, self._begins)
        drawn = sums[number + 1] - sums[earliest]  # as the target of each row that has it in its window
        return torch.bincount(items[self._events], drawn, minlength=num_items + 1)

    def _keys(self, first: Tensor) -> NDArray[np.float64]:
        """Return random numbers (B, window), of which the smallest are drawn."""
        data = self._interactions
        users = data.users[first]
        places: NDArray[np.uint64] = (first - data.user_offsets[users]).numpy().astype(np.uint64)
        of_users = mixed(self._start + data.known_users(users).numpy().astype(np.uint64) * _INCREMENT)
        options: NDArray[np.uint64] = np.arange(self.window, dtype=np.uint64)
        numbers = places[:, None] * np.uint64(self.window) + options
        bits = mixed(of_users[:, None] + numbers * _INCREMENT)
        return (bits >> np.uint64(11)).astype(np.float64)

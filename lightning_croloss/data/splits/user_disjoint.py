"""UserDisjoint: evaluation has users that training never saw."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits.base import Split, SplitRows, TargetRows
from lightning_croloss.data.splits.fractions import check_fractions, check_whole, share


class UserDisjoint(Split):
    """Users are divided at random: evaluation users are new, their first events are given as history.

    A user with one event cannot be evaluated: wherever the user was drawn, the event is for training.

    Args:
        train: fraction of the users for training: each of their events but the first is a target.
        valid: fraction of the users for validation.
        test: fraction of the users for test.
        history: fraction of a validation or test user's events, rounded down, that is history; the rest are
            the targets. At least one event is history and at least one is a target.
        seed: seed of the random division of the users.

    Raises:
        ValueError: if a fraction is not between 0 and 1 or the first three do not sum to 1.
    """

    def __init__(
        self,
        train: float = 0.8,
        valid: float = 0.1,
        test: float = 0.1,
        history: float = 0.8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_whole(train, valid, test)
        check_fractions(history=history)
        self.train, self.valid, self.test, self.history, self.seed = train, valid, test, history, seed

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part; users with one event give none."""
        whole = interactions.share
        if whole is None:
            group = self._groups(interactions.num_users)
        else:  # the division is that of all users
            group = self._groups(whole.num_users)[whole.user_ids]
        length = interactions.lengths
        history = torch.minimum(share(length, self.history).clamp(min=1), length - 1)
        in_training = ((group == 0) | (length == 1))[interactions.users]
        return SplitRows(
            train=TargetRows.single(in_training & (interactions.positions >= 1)),
            valid=self._evaluation(interactions, (group == 1) & (length >= 2), history),
            test=self._evaluation(interactions, (group == 2) & (length >= 2), history),
            training_events=in_training,
            unseen_users=True,
        )

    def _groups(self, num_users: int) -> Tensor:
        """Return (num_users + 1,): 0 train, 1 valid, 2 test, and -1 for padding."""
        order = np.random.default_rng(self.seed).permutation(num_users)
        first, second = round(self.train * num_users), round((self.train + self.valid) * num_users)
        group = np.full(num_users + 1, -1)
        for number, members in enumerate(np.split(order, [first, second])):
            group[members + 1] = number
        return torch.from_numpy(group)

    @staticmethod
    def _evaluation(interactions: Interactions, users: Tensor, history: Tensor) -> TargetRows:
        chosen = users.nonzero().squeeze(1)
        start = interactions.user_offsets[chosen]
        return TargetRows(start + history[chosen], start + interactions.lengths[chosen])

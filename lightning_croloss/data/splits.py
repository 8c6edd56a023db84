"""Splits: which events are targets of training, validation and test."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.configurable import Configurable
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.errors import DataError


@dataclass(frozen=True)
class TargetRows:
    """Rows by the position of their targets in the event columns; the history is all of the user before it.

    Attributes:
        first: (n,) int64 position of the first target.
        stop: (n,) int64 position after the last target.
    """

    first: Tensor
    stop: Tensor

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def single(cls, chosen: Tensor) -> TargetRows:
        """Return one row with one target for each event that ``chosen`` (E,) bool marks."""
        first = chosen.nonzero().squeeze(1)
        return cls(first, first + 1)


@dataclass(frozen=True)
class SplitRows:
    """The outcome of a split.

    Attributes:
        train: training rows, one target each.
        valid: validation rows.
        test: test rows.
        training_events: (E,) bool, events that training may see: counts and known positives come from these.
        unseen_users: whether evaluation has users without training events.
    """

    train: TargetRows
    valid: TargetRows
    test: TargetRows
    training_events: Tensor
    unseen_users: bool


class Split(Configurable, abc.ABC):
    """Strategy that divides the events of :class:`Interactions` into targets of training and evaluation."""

    def __init__(self) -> None:
        super().__init__()

    @abc.abstractmethod
    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows; :meth:`split` checks them."""

    def split(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part.

        Raises:
            DataError: if a part has no rows.
        """
        rows = self.assign(interactions)
        for part in ("train", "valid", "test"):
            if not len(getattr(rows, part)):
                longest = int(interactions.lengths.max())
                raise DataError(
                    f"{type(self).__name__} leaves no {part} rows for {interactions.num_users} users, "
                    f"of whom the longest has {longest} events: take milder filters or another split"
                )
        return rows


class LeaveOneOut(Split):
    """Each user's last target is for test, the one before for validation, the others for training.

    The rule of RecBole: a user's targets are all events but the first. Three or more: as above. Two: one for
    training, one for test. One: for training.
    """

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part; evaluation has only users that training saw."""
        place = interactions.places
        from_end = interactions.lengths[interactions.users] - 1 - place
        targets = interactions.lengths[interactions.users] - 1
        test = (from_end == 0) & (targets >= 2)
        valid = (from_end == 1) & (targets >= 3)
        held_out = test | valid
        return SplitRows(
            train=TargetRows.single((place >= 1) & ~held_out),
            valid=TargetRows.single(valid),
            test=TargetRows.single(test),
            training_events=(targets >= 1) & ~held_out,
            unseen_users=False,
        )


class UserDisjoint(Split):
    """Users are divided at random: evaluation users are new, their first events are given as history.

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
        fractions = {"train": train, "valid": valid, "test": test, "history": history}
        for name, value in fractions.items():
            if not 0 < value < 1:
                raise ValueError(f"{name}={value} must be a fraction between 0 and 1, both excluded")
        if abs(train + valid + test - 1) > 1e-6:
            raise ValueError(f"train={train}, valid={valid} and test={test} must sum to 1")
        self.train, self.valid, self.test, self.history, self.seed = train, valid, test, history, seed

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part; users with fewer than two events give none."""
        group = self._groups(interactions.num_users)
        length = interactions.lengths
        # the small number undoes roundings such as 0.29 * 100 = 28.999…
        history = (length.double() * self.history + 1e-9).floor().long()
        history = torch.minimum(history.clamp(min=1), length - 1)
        in_training = (group == 0)[interactions.users] & (length >= 2)[interactions.users]
        return SplitRows(
            train=TargetRows.single(in_training & (interactions.places >= 1)),
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

"""Split: which events are targets of training, validation and test."""

from __future__ import annotations

import abc
from dataclasses import dataclass

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

    def spread(self, most: int) -> TargetRows:
        """Return ``most`` of the rows, spread evenly over them, or all if there are no more."""
        if len(self) <= most:
            return self
        chosen = torch.arange(most) * len(self) // most
        return TargetRows(self.first[chosen], self.stop[chosen])


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

    def arrange(self, interactions: Interactions) -> Interactions:
        """Return the events in the order that the split needs; as they are unless overridden.

        The data module calls it once, before anything else sees the events.
        """
        return interactions

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

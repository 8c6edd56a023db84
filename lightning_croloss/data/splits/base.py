"""Split: which events are targets of training, validation and test."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.configurable import Configurable
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits.ordered_times import OrderedTimes
from lightning_croloss.errors import DataError

#: The parts of a split, as :class:`SplitRows` names them.
PARTS = ("train", "valid", "test")


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

    def note_on(self, interactions: Interactions) -> str | None:
        """Return what the user should know of this split of the events; None unless overridden.

        Args:
            interactions: the events as :meth:`arrange` returned them.
        """
        return None

    def boundaries(self, times: OrderedTimes) -> tuple[int | float, int | float] | None:
        """Return the times at which validation and test begin; None unless the split divides by time.

        Args:
            times: those of all events.
        """
        return None

    @property
    def divides_by_time(self) -> bool:
        """Whether :meth:`boundaries` returns any."""
        return False

    @abc.abstractmethod
    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows; :meth:`split` checks them."""

    def split(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part.

        Raises:
            DataError: if a part has no rows, unless the events are a share of some process.
        """
        rows = self.assign(interactions)
        if interactions.share is None:
            numbers = {part: len(getattr(rows, part)) for part in PARTS}
            self.refuse_empty(numbers, interactions.num_users, int(interactions.lengths.max()))
        return rows

    def refuse_empty(self, rows: Mapping[str, int], num_users: int, longest: int) -> None:
        """Refuse a split that leaves a part without rows.

        Args:
            rows: number of rows of each of :data:`PARTS`.
            num_users: number of users.
            longest: the most events of a user.

        Raises:
            DataError: naming the part.
        """
        for part in PARTS:
            if not rows[part]:
                raise DataError(
                    f"{type(self).__name__} leaves no {part} rows for {num_users} users, "
                    f"of whom the longest has {longest} events: take milder filters or another split"
                )

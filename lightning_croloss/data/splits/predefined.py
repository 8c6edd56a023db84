"""Predefined: the parts come with the data, as published benchmarks have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits.base import Split, SplitRows
from lightning_croloss.data.splits.fractions import check_fractions
from lightning_croloss.data.splits.parts import TEST, TRAIN, VALID, rows_of_parts
from lightning_croloss.errors import DataError


class Predefined(Split):
    """The data says which event is for training, validation and test: in files of their own, or in a column.

    A user's events are taken in the order training, validation, test, and within a part by time. Training has
    one row for each event but the user's first; validation and test have one row a user: all of the user's
    events in that part are the targets, everything before is the history. A user without any event before has
    no row. Where the parts of a user overlap in time, which is told, that is another order than the one of
    ``predict`` and ``croloss recommend``: these know no parts, and what is last in time is last.

    Args:
        train: the file of the training events, relative to the folder of the interactions; with ``column``
            the value that marks them.
        valid: the same for validation; or a fraction between 0 and 1: so much of each user's training events,
            rounded, is drawn for validation, but never all of them.
        test: the same for test.
        column: the column that holds the part of each event; null if the parts are files.
        seed: seed of the drawing, if ``valid`` is a fraction.

    Raises:
        ValueError: if the three are not different, or a fraction is not between 0 and 1.
    """

    def __init__(
        self,
        train: int | str = "train",
        valid: int | float | str = "valid",
        test: int | str = "test",
        column: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if isinstance(valid, float):
            check_fractions(valid=valid)
        self.train, self.valid, self.test, self.column, self.seed = train, valid, test, column, seed
        if len(set(self.names.values())) < len(self.names):
            raise ValueError(f"train={train!r}, valid={valid!r} and test={test!r} must be different")

    @property
    def fraction(self) -> float | None:
        """The fraction of the training events that is drawn for validation, or None."""
        return self.valid if isinstance(self.valid, float) else None

    @property
    def names(self) -> dict[int, str]:
        """The parts that the data must hold, as ``Interactions.parts`` numbers them, and their names."""
        named = {TRAIN: self.train, VALID: self.valid, TEST: self.test}
        return {part: str(name) for part, name in named.items() if not isinstance(name, float)}

    def arrange(self, interactions: Interactions) -> Interactions:
        """Return the events with the validation part drawn, if it is to be.

        Raises:
            DataError: if the data has no parts, or a validation part already.
        """
        parts = _parts(interactions)
        if self.fraction is None:
            return interactions
        if bool((parts == VALID).any()):
            raise DataError(
                f"Predefined: valid={self.valid} is to be drawn, but the data has a validation part"
            )
        drawn = parts.clone()
        drawn[self._drawn(interactions, parts == TRAIN, self.fraction)] = VALID
        # the events are sorted already, and the sort is stable
        order = torch.from_numpy(np.lexsort((drawn.numpy(), interactions.users.numpy())))
        return replace(
            interactions,
            items=interactions.items[order],
            times=None if interactions.times is None else interactions.times[order],
            weights=None if interactions.weights is None else interactions.weights[order],
            parts=drawn[order],
            columns=tuple(column[order] for column in interactions.columns),
        )

    def note_on(self, interactions: Interactions) -> str | None:
        """Say how many users have parts that overlap in time; None if nobody has."""
        times, parts, users = interactions.times, interactions.parts, interactions.users
        if times is None or parts is None:
            return None
        overlap = (users.diff() == 0) & (parts.diff() > 0) & (times[1:] < times[:-1])
        number = len(users[1:][overlap].unique())
        if not number:
            return None
        return (
            f"Predefined: the parts of {number:,} of {interactions.num_users:,} users overlap in time; their "
            "histories of validation and test are in the order of the parts, those of predict and recommend "
            "in that of time, which makes a difference to models that read the order"
        )

    def _drawn(self, interactions: Interactions, training: Tensor, fraction: float) -> Tensor:
        """Return the positions of the events that are drawn from the training events (E,) bool."""
        events = training.nonzero().squeeze(1).numpy()
        users = interactions.users.numpy()[events]
        shuffled = np.lexsort((np.random.default_rng(self.seed).random(len(events)), users))
        count = np.bincount(users, minlength=interactions.num_users + 1)
        wanted = np.minimum(
            np.floor(count * fraction + 0.5 + 1e-9).astype(np.int64), np.maximum(count - 1, 0)
        )
        position = np.arange(len(events)) - (np.cumsum(count) - count)[users]
        return torch.from_numpy(events[shuffled[position < wanted[users]]])

    def assign(self, interactions: Interactions) -> SplitRows:
        """Return the rows of each part.

        Raises:
            DataError: if the data has no parts.
        """
        return rows_of_parts(interactions, _parts(interactions))


def _parts(interactions: Interactions) -> Tensor:
    if interactions.parts is None:
        raise DataError(
            "Predefined needs data that says the part of each event, but this has none: use TableDataModule, "
            "or give parts to Interactions"
        )
    return interactions.parts

"""Recipients: the users that ``Trainer.predict`` recommends to, each with all of its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_croloss.common.item_lists import ItemLists
from lightning_croloss.data.batch import GivenFeatures, RetrievalBatch
from lightning_croloss.data.event_columns import EventTable
from lightning_croloss.data.features import Feature
from lightning_croloss.data.interactions import Interactions, Vocabulary
from lightning_croloss.data.windows import Windows


@dataclass(frozen=True)
class Recipients:
    """All users of the data, also those that its filters leave out, with the events whose items are known.

    Attributes:
        interactions: the events. The users of the data come first, under the ids that models know; then those
            that training left out.
        num_known: number of users of the data.
        num_left_out: number of users that are left out because the model needs users it was trained with.
        user_ids: (num_known + 1,) ids of the users of the data, where each process has others; None if they
            are 1 … num_known.
    """

    interactions: Interactions
    num_known: int
    num_left_out: int = 0
    user_ids: Tensor | None = None

    def __len__(self) -> int:
        return self.interactions.num_users

    def known_ids(self, numbers: Tensor) -> Tensor:
        """Return the ids (B,) that models know recipients (B,) by, 0 = none."""
        known = numbers.where(numbers <= self.num_known, 0)
        return known if self.user_ids is None else self.user_ids[known]

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the users."""
        return self.interactions.user_vocabulary

    @classmethod
    def of(cls, known: Interactions, everyone: Interactions | None, known_only: bool = False) -> Recipients:
        """Gather the users.

        Args:
            known: the events that models are trained and evaluated on.
            everyone: the events before the filters that count events; None if there are no such filters.
            known_only: whether users without events in ``known`` are left out.
        """
        tokens = known.user_vocabulary.tokens
        ids = None if known.share is None else known.share.user_ids
        others: list[str | int] = []
        if everyone is not None:
            all_tokens = everyone.user_vocabulary.tokens  # a list that is made at each call
            unknown = known.user_vocabulary.encode(all_tokens) == 0
            others = [all_tokens[index] for index in np.flatnonzero(unknown)]
        if everyone is None or known_only:
            return cls(_in_time(known, known, known.user_vocabulary), len(tokens), len(others), ids)
        return cls(_in_time(everyone, known, Vocabulary([*tokens, *others])), len(tokens), 0, ids)


def _in_time(events: Interactions, known: Interactions, users: Vocabulary) -> Interactions:
    """Return events under the ids of ``users`` and of the known items, sorted by user and time.

    Events of unknown items are left out. The parts of a split do not count here: what comes last in time is
    the last event.
    """
    user_ids = users.encode(events.user_vocabulary.tokens)[events.users.numpy() - 1]
    item_ids = known.item_vocabulary.encode(events.item_vocabulary.tokens)[events.items.numpy() - 1]
    kept = item_ids > 0
    times = None if events.times is None else events.times.numpy()[kept]
    if times is not None and events.has_dates:
        times = times.view("datetime64[ns]")
    columns = [column[kept] for column in events.columns]
    return Interactions.from_ids(
        user_ids[kept], item_ids[kept], users, known.item_vocabulary, times, columns=columns
    )


class RecipientDataset(Dataset[RetrievalBatch]):
    """A row for each recipient, as :class:`RetrievalBatch` without targets.

    ``users`` are the ids that the model knows, 0 for a user that training left out; ``recipients`` number all
    of them.

    Args:
        recipients: the users.
        max_history: the most events of a history, the last ones; those of a batch are as wide as the longest.
        include_whole_history: fill ``whole_history``.
        features: features of the recipients, of whom those that training left out count; none to leave
            ``user_features`` empty.
        events: times and features of the recipients' events for the histories; None to leave them out.
    """

    def __init__(
        self,
        recipients: Recipients,
        max_history: int,
        include_whole_history: bool,
        features: Sequence[Feature] = (),
        events: EventTable | None = None,
    ) -> None:
        self.recipients = recipients
        self._events = events
        self.max_history = max_history
        self.include_whole_history = include_whole_history
        self._values = [feature.values for feature in features]
        self._given = torch.zeros(len(recipients) + 1, dtype=torch.bool)
        for values in self._values:
            known = ~values.isnan() if values.is_floating_point() else values != 0
            self._given |= known.any(1)

    def __len__(self) -> int:
        return len(self.recipients)

    @cached_property
    def widths(self) -> Tensor:
        """(rows,) number of events of each history."""
        return self.recipients.interactions.user_offsets.diff()[1:].clamp(max=self.max_history)

    def __getitems__(self, indices: Sequence[int] | Tensor) -> RetrievalBatch:
        """Return the rows ``indices`` (B,) as one batch."""
        numbers = torch.as_tensor(indices, dtype=torch.int64) + 1
        events = self.recipients.interactions
        start, stop = events.user_offsets[numbers], events.user_offsets[numbers + 1]
        whole = None
        if self.include_whole_history:
            whole = ItemLists.of_ranges(events.items, start, stop).compact(left=True)
        width = max(1, int(self.widths[numbers - 1].max())) if len(numbers) else 1
        windows = Windows.of(start, stop, width)
        return RetrievalBatch(
            history=windows.filled(events.items),
            targets=torch.zeros(len(numbers), 1, dtype=torch.int64),
            users=self.recipients.known_ids(numbers),
            whole_history=whole,
            recipients=numbers,
            user_features=self._features_of(numbers) if self._values else None,
            events=None if self._events is None else self._events.windows(windows),
        )

    def _features_of(self, numbers: Tensor) -> GivenFeatures:
        return GivenFeatures([values[numbers] for values in self._values], self._given[numbers])

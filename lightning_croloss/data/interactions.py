"""Interactions: who used which item when, as columns of ids sorted by user and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from croloss_serving.common.vocabulary import Tokens
from croloss_serving.common.vocabulary import Vocabulary as Vocabulary
from croloss_serving.recommend.event_inputs import whole_times
from lightning_croloss.data.event_columns import EventColumn
from lightning_croloss.data.raw_columns import checked_parts, checked_weights, exact_times, factorize
from lightning_croloss.errors import DataError


@dataclass(frozen=True)
class Share:
    """What the events of some of the users are a part of, where each process has others.

    Attributes:
        user_ids: (num_users + 1,) int64 ids of the users among those of all processes, ascending; 0 first.
        num_users: number of users of all processes.
        boundaries: when validation and test begin, if the split divides by time.
    """

    user_ids: Tensor
    num_users: int
    boundaries: tuple[int | float, int | float] | None = None


@dataclass(frozen=True)
class Interactions:
    """Events as columns, sorted by user, then part, then time; what is equal keeps its original order.

    Build it with :meth:`from_columns` (raw tokens) or :meth:`from_ids`.

    Attributes:
        users: (E,) int64 user ids, ascending.
        items: (E,) int64 item ids.
        times: (E,) int64 or float64, or None if the original order is the order.
        weights: (E,) float32, or None for equal weights.
        user_offsets: (num_users + 2,) int64; events of user u are ``[user_offsets[u], user_offsets[u + 1])``.
        user_vocabulary: tokens of the users.
        item_vocabulary: tokens of the items.
        parts: (E,) int8 what each event is for: 0 training, 1 validation, 2 test; None if nobody says.
        has_dates: whether the times are dates, as int64 nanoseconds since 1970.
        columns: features of the events, (E,) each, which models may read of histories.
        share: what they are a part of; None if they are all events.
    """

    users: Tensor
    items: Tensor
    times: Tensor | None
    weights: Tensor | None
    user_offsets: Tensor
    user_vocabulary: Vocabulary
    item_vocabulary: Vocabulary
    parts: Tensor | None = None
    has_dates: bool = False
    columns: tuple[EventColumn, ...] = ()
    share: Share | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def num_users(self) -> int:
        """Number of real users."""
        return len(self.user_vocabulary)

    @property
    def num_items(self) -> int:
        """Number of real items."""
        return len(self.item_vocabulary)

    def known_users(self, users: Tensor) -> Tensor:
        """Return the ids that models know users by, of any shape: those among the users of all processes."""
        return users if self.share is None else self.share.user_ids[users]

    @cached_property
    def positions(self) -> Tensor:
        """(E,) position of each event in its user's sequence, from 0."""
        return torch.arange(len(self)) - self.user_offsets[self.users]

    @cached_property
    def lengths(self) -> Tensor:
        """(num_users + 1,) number of events of each user; index 0 is padding."""
        return self.user_offsets.diff()

    @cached_property
    def whole_times(self) -> Tensor | None:
        """(E,) int64 times as models read them: numbers rounded down, dates as seconds; None without."""
        if self.times is None:
            return None
        return torch.from_numpy(whole_times(self.times.numpy(), self.has_dates))

    def readable_time(self, time: int | float) -> int | float | str:
        """Return a time as a user would write it: a date in UTC as ISO text, a number as it is."""
        return self.written_time(time, self.has_dates)

    @staticmethod
    def written_time(time: int | float, has_dates: bool) -> int | float | str:
        """Return a time, a date or not, as a user would write it."""
        if not has_dates:
            return time
        moment = datetime(1970, 1, 1) + timedelta(microseconds=int(time) // 1_000)
        return moment.isoformat()

    @classmethod
    def from_columns(
        cls,
        users: Tokens,
        items: Tokens,
        times: Tokens | None = None,
        weights: Tokens | None = None,
        parts: Tokens | None = None,
        columns: Sequence[EventColumn] = (),
    ) -> Interactions:
        """Build from raw tokens (E,); ids follow the sorted tokens, so row order does not change them.

        Raises:
            DataError: for no rows, columns of different lengths, missing tokens, or such that are neither
                integers nor text, times that cannot order events exactly, unusable weights or parts; the
                message names the column and the first such row.
        """
        user_tokens, user_ids = factorize(users, "users")
        item_tokens, item_ids = factorize(items, "items")
        return cls.from_ids(
            user_ids,
            item_ids,
            Vocabulary(user_tokens),
            Vocabulary(item_tokens),
            times,
            weights,
            parts,
            columns,
        )

    @classmethod
    def from_ids(
        cls,
        users: NDArray[np.int64],
        items: NDArray[np.int64],
        user_vocabulary: Vocabulary,
        item_vocabulary: Vocabulary,
        times: Tokens | None = None,
        weights: Tokens | None = None,
        parts: Tokens | None = None,
        columns: Sequence[EventColumn] = (),
        share: Share | None = None,
    ) -> Interactions:
        """Build from ids (E,) of existing vocabularies, which may hold tokens without events.

        Raises:
            DataError: as :meth:`from_columns`, and for ids outside of their vocabulary.
        """
        if not len(users):
            raise DataError("there are no interactions: the data is empty")
        named = {"items": items, "times": times, "weights": weights, "parts": parts}
        named |= {f"column {column.name!r}": column.values.numpy() for column in columns}
        for name, column in named.items():
            if column is not None and len(column) != len(users):
                raise DataError(
                    f"{name} has {len(column)} rows, but users has {len(users)}: give equal lengths"
                )
        for name, ids, known in (("users", users, user_vocabulary), ("items", items, item_vocabulary)):
            if ids.min() < 1 or ids.max() > len(known):
                raise DataError(f"{name} has ids {ids.min()} … {ids.max()}, but only 1 … {len(known)} exist")
        when, has_dates = (None, False) if times is None else exact_times(times)
        part = None if parts is None else checked_parts(parts)
        order = np.lexsort([key for key in (when, part, users) if key is not None])  # a stable sort
        counts = np.bincount(users, minlength=len(user_vocabulary) + 1)
        return cls(
            users=torch.from_numpy(users[order].astype(np.int64)),
            items=torch.from_numpy(items[order].astype(np.int64)),
            times=None if when is None else torch.from_numpy(when[order]),
            weights=None if weights is None else torch.from_numpy(checked_weights(weights)[order]),
            user_offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
            user_vocabulary=user_vocabulary,
            item_vocabulary=item_vocabulary,
            parts=None if part is None else torch.from_numpy(part[order]),
            has_dates=has_dates,
            columns=tuple(column[order] for column in columns),
            share=share,
        )

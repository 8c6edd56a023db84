"""Interactions: who used which item when, as columns of ids sorted by user and time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_croloss.common.vocabulary import Tokens
from lightning_croloss.common.vocabulary import Vocabulary as Vocabulary
from lightning_croloss.errors import DataError


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

    @cached_property
    def positions(self) -> Tensor:
        """(E,) position of each event in its user's sequence, from 0."""
        return torch.arange(len(self)) - self.user_offsets[self.users]

    @cached_property
    def lengths(self) -> Tensor:
        """(num_users + 1,) number of events of each user; index 0 is padding."""
        return self.user_offsets.diff()

    def readable_time(self, time: int | float) -> int | float | str:
        """Return a time as a user would write it: a date in UTC as ISO text, a number as it is."""
        if not self.has_dates:
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
    ) -> Interactions:
        """Build from raw tokens (E,); ids follow the sorted tokens, so row order does not change them.

        Raises:
            DataError: for no rows, columns of different lengths, missing tokens, unusable times, weights or
                parts.
        """
        user_tokens, user_ids = _factorize(users, "users")
        item_tokens, item_ids = _factorize(items, "items")
        return cls.from_ids(
            user_ids, item_ids, Vocabulary(user_tokens), Vocabulary(item_tokens), times, weights, parts
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
    ) -> Interactions:
        """Build from ids (E,) of existing vocabularies, which may hold tokens without events.

        Raises:
            DataError: as :meth:`from_columns`, and for ids outside of their vocabulary.
        """
        if not len(users):
            raise DataError("there are no interactions: the data is empty")
        for name, column in (("items", items), ("times", times), ("weights", weights), ("parts", parts)):
            if column is not None and len(column) != len(users):
                raise DataError(
                    f"{name} has {len(column)} rows, but users has {len(users)}: give equal lengths"
                )
        for name, ids, known in (("users", users, user_vocabulary), ("items", items, item_vocabulary)):
            if ids.min() < 1 or ids.max() > len(known):
                raise DataError(f"{name} has ids {ids.min()} … {ids.max()}, but only 1 … {len(known)} exist")
        when = None if times is None else _exact_times(times)
        part = None if parts is None else _checked_parts(parts)
        order = np.lexsort([key for key in (when, part, users) if key is not None])  # a stable sort
        counts = np.bincount(users, minlength=len(user_vocabulary) + 1)
        return cls(
            users=torch.from_numpy(users[order].astype(np.int64)),
            items=torch.from_numpy(items[order].astype(np.int64)),
            times=None if when is None else torch.from_numpy(when[order]),
            weights=None if weights is None else torch.from_numpy(_checked_weights(weights)[order]),
            user_offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
            user_vocabulary=user_vocabulary,
            item_vocabulary=item_vocabulary,
            parts=None if part is None else torch.from_numpy(part[order]),
            has_dates=times is not None and np.asarray(times).dtype.kind == "M",
        )


def _factorize(tokens: Tokens, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted distinct tokens and the id (from 1) of each row."""
    column = np.asarray(tokens).reshape(-1)
    if column.dtype.kind == "O":
        missing = [row for row, token in enumerate(column) if token is None or token != token]
    else:
        missing = np.flatnonzero(column != column).tolist()
    if missing:
        raise DataError(f"{name} has no token in row {missing[0]}: remove rows without a user or an item")
    if column.dtype.kind == "O":
        column = column.astype(np.str_)
    distinct, inverse = np.unique(column, return_inverse=True)
    return distinct, inverse.reshape(-1).astype(np.int64) + 1


def _exact_times(times: Tokens) -> NDArray[Any]:
    """Return times as int64 or float64, refusing what cannot order events exactly."""
    column = np.asarray(times).reshape(-1)
    if column.dtype.kind == "M":
        missing = np.flatnonzero(np.isnat(column))
        column = column.astype("datetime64[ns]").astype(np.int64)
    elif column.dtype.kind in "iu":
        return column.astype(np.int64)
    elif column.dtype == np.float64:
        missing = np.flatnonzero(np.isnan(column))
    else:
        raise DataError(
            f"times are {column.dtype}, which cannot order events exactly: give int64, float64 or datetime64"
        )
    if len(missing):
        raise DataError(f"times has no value in row {missing[0]}: remove the row or give no times at all")
    return column


def _checked_weights(weights: Tokens) -> NDArray[np.float32]:
    column = np.asarray(weights, dtype=np.float32).reshape(-1)
    wrong = np.flatnonzero(~np.isfinite(column) | (column < 0))
    if len(wrong):
        raise DataError(
            f"weights has {column[wrong[0]]} in row {wrong[0]}: weights must be finite and not negative"
        )
    return column


def _checked_parts(parts: Tokens) -> NDArray[np.int8]:
    column = np.asarray(parts).reshape(-1)
    wrong = np.flatnonzero(~np.isin(column, (0, 1, 2)))
    if len(wrong):
        raise DataError(
            f"parts has {column[wrong[0]]} in row {wrong[0]}: write 0 for training, 1 for validation, "
            "2 for test"
        )
    return column.astype(np.int8)

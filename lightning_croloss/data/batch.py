"""RetrievalBatch: what a model is given for one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids, ItemLists, blocks_of
from lightning_croloss.data.target_counts import TargetCounts


@dataclass
class GivenFeatures:
    """Features of users that are given with a batch, for users whom the model does not know by their ids.

    Attributes:
        values: for each feature (B, W), int64 ids of tokens padded with 0, or float32 with NaN where missing.
        given: (B,) bool, whether a user has any.
    """

    values: list[Tensor]
    given: Tensor

    def __getitem__(self, rows: slice | Tensor) -> GivenFeatures:
        """Return those of some rows."""
        return GivenFeatures([value[rows] for value in self.values], self.given[rows])

    def map(self, change: Callable[[Tensor], Tensor]) -> GivenFeatures:
        """Return the features with every tensor changed."""
        return GivenFeatures([change(value) for value in self.values], change(self.given))


@dataclass
class EventValues:
    """What a batch holds of the events of its histories besides their items; blank at padding.

    Attributes:
        times: (B, L) int64 whole times, or None if the model does not read them or the data has none.
        features: for each feature of events (B, L), int64 ids of tokens, 0 where missing or unknown, or
            float32, NaN where missing.
    """

    times: Tensor | None
    features: list[Tensor]

    @property
    def width(self) -> int:
        """Number of positions L."""
        return (self.features[0] if self.times is None else self.times).shape[1]

    def __getitem__(self, index: Any) -> EventValues:
        """Return the values at an index of (B, L)."""
        times = None if self.times is None else self.times[index]
        return EventValues(times, [values[index] for values in self.features])

    def map(self, change: Callable[[Tensor], Tensor]) -> EventValues:
        """Return the values with every tensor changed."""
        times = None if self.times is None else change(self.times)
        return EventValues(times, [change(values) for values in self.features])


@dataclass
class RetrievalBatch:
    """One batch of users with their histories and targets; ids are int64, 0 is padding.

    Attributes:
        history: (B, L) item ids, left-padded with 0, oldest first.
        targets: (B, T) item ids, right-padded with 0; T is 1 in training and for leave-one-out. In
            evaluation they are a set: no item comes twice. In training on all positions (B, L), at each
            position the item that follows the history's, 0 = none; (B, L, T) if T are drawn of later ones.
        users: (B,) user ids, 1 … num_users.
        sample_weight: (B,) weight of each row in the loss, or None for equal weights; in training on all
            positions, or on several targets of a row, that of each target, in the shape of ``targets``.
        known_positives: (B, E) every item of the user's training events, padded with 0, where a sampler
            asked for it; else None.
        whole_history: (B, E) every item that the user had before the first target, left-padded with 0,
            where evaluation leaves them out; else None.
        recipients: (B,) in prediction the number of each user among the data's ``recipients``, from 1, which
            has users that training left out too; else None.
        user_features: features of users whose id is 0; None = the model's own alone.
        events: times and features of the history's events, for a model that reads them; else None.
        counted: how many targets there are, of a batch that was moved; see :attr:`target_counts`.

    Where some rows are so long that padding would take much more memory than the ids, ``targets`` of
    evaluation, ``known_positives`` and ``whole_history`` are :class:`ItemLists`; see :meth:`pieces`.
    """

    history: Tensor
    targets: Ids
    users: Tensor
    sample_weight: Tensor | None = None
    known_positives: Ids | None = None
    whole_history: Ids | None = None
    recipients: Tensor | None = None
    user_features: GivenFeatures | None = None
    events: EventValues | None = None
    counted: TargetCounts | None = None

    @property
    def target_counts(self) -> TargetCounts | None:
        """How many targets there are, if the host knows: None of targets that were put in their place."""
        return self.counted if self.counted is not None and self.counted.targets is self.targets else None

    @property
    def first_targets(self) -> Tensor:
        """(B,) the first target of each row, the only one in training."""
        return self.targets[:, 0] if isinstance(self.targets, Tensor) else self.targets.first()

    def pieces(self) -> Iterator[tuple[slice, RetrievalBatch]]:
        """Yield the batch in pieces whose ids are all padded, with the rows that they are of.

        The whole batch, unless one of its rows is so long that padding would take much memory.
        """
        for rows in self.rows_of_pieces():
            yield rows, self if rows == slice(0, self.batch_size) and not self._lists else self[rows]

    def rows_of_pieces(self) -> Iterator[slice]:
        """Yield the rows of each of the :meth:`pieces`."""
        yield from blocks_of(self._lists) if self._lists else [slice(0, self.batch_size)]

    @property
    def _lists(self) -> list[ItemLists]:
        return [ids for ids in (self.targets, self.known_positives, self.whole_history) if _is_lists(ids)]

    def __getitem__(self, rows: slice) -> RetrievalBatch:
        """Return some rows, padded."""
        return RetrievalBatch(
            self.history[rows],
            _padded(self.targets, rows),
            self.users[rows],
            None if self.sample_weight is None else self.sample_weight[rows],
            None if self.known_positives is None else _padded(self.known_positives, rows),
            None if self.whole_history is None else _padded(self.whole_history, rows, left=True),
            None if self.recipients is None else self.recipients[rows],
            None if self.user_features is None else self.user_features[rows],
            None if self.events is None else self.events[rows],
        )

    def select(self, rows: Tensor) -> RetrievalBatch:
        """Return the rows ``rows`` (P,), in this order."""
        chosen: dict[str, Any] = {
            name: None if value is None else value[rows]
            for name in _PARTS
            for value in (getattr(self, name),)
        }
        return RetrievalBatch(**chosen)

    def last_events(self, count: int) -> RetrievalBatch:
        """Return the batch with the last ``count`` positions of each history alone."""
        events = None if self.events is None else self.events[:, -count:]
        return replace(self, history=self.history[:, -count:], events=events)

    @property
    def items_before(self) -> Ids:
        """(B, E) the items before the first target: all of them if the batch has them, else the history."""
        return self.history if self.whole_history is None else self.whole_history

    @property
    def has_items_before(self) -> Tensor:
        """(B,) bool: whether the user had any item before."""
        before = self.items_before
        return before.lengths > 0 if isinstance(before, ItemLists) else (before != 0).any(1)

    @property
    def padded_items_before(self) -> Tensor:
        """(B, E) the same, padded whatever that takes; of a piece it takes little."""
        before = self.items_before
        return before.padded(left=True) if isinstance(before, ItemLists) else before

    @property
    def padded_targets(self) -> Tensor:
        """(B, T) the targets, padded whatever that takes; of a piece it takes little."""
        return self.targets.padded() if isinstance(self.targets, ItemLists) else self.targets

    @property
    def batch_size(self) -> int:
        """Number of rows B."""
        return self.history.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RetrievalBatch:
        """Return the batch with every tensor on ``device``.

        Args:
            device: where to.
            non_blocking: whether the host goes on while tensors are copied; what is pinned never waits.
        """
        counts, leaves = self.target_counts, torch.device(device).type != "cpu"
        if counts is None and leaves and isinstance(self.targets, Tensor) and self.targets.is_cpu:
            counts = TargetCounts.of(self.targets)
        moved = self._map(
            lambda part: part.to(device, non_blocking=non_blocking or (leaves and part.is_pinned()))
        )
        if counts is not None and isinstance(moved.targets, Tensor):
            moved.counted = replace(counts, targets=moved.targets)
        return moved

    def pin_memory(self) -> RetrievalBatch:
        """Return the batch in memory from which an accelerator copies by itself; what is on one stays."""
        return self._map(lambda part: part.pin_memory() if part.is_cpu else part)

    def sent(self, device: torch.device) -> RetrievalBatch:
        """Return the batch on a device, which copies by itself what is not there yet."""
        return (self.pin_memory() if device.type == "cuda" else self).to(device)

    def _map(self, change: Callable[[Tensor], Tensor]) -> RetrievalBatch:
        """Return the batch with every tensor changed, its targets not counted."""
        changed: dict[str, Any] = {}
        for name in _PARTS:
            value = getattr(self, name)
            if value is not None:
                changed[name] = change(value) if isinstance(value, Tensor) else value.map(change)
        return RetrievalBatch(**changed)


#: Fields that hold tensors.
_PARTS = tuple(field.name for field in fields(RetrievalBatch) if field.name != "counted")


def _is_lists(ids: Ids | None) -> TypeGuard[ItemLists]:
    return isinstance(ids, ItemLists)


def _padded(ids: Ids, rows: slice, left: bool = False) -> Tensor:
    return ids[rows].padded(left) if isinstance(ids, ItemLists) else ids[rows]

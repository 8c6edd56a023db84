"""SequenceDataset: whole batches gathered from the event columns, without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_croloss.common.item_lists import Ids, ItemLists
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.event_columns import EventTable
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.next_targets import NextTargets
from lightning_croloss.data.splits import TargetRows
from lightning_croloss.data.target_counts import sent
from lightning_croloss.data.targets import targets_of_rows
from lightning_croloss.data.windows import Windows


class SequenceDataset(Dataset[RetrievalBatch]):
    """Rows of a split as :class:`RetrievalBatch`; an item that comes twice among a row's targets is one.

    The histories of a batch are as wide as the longest of them, 1 at least.

    Args:
        interactions: the events.
        rows: positions of the targets.
        max_history: the most events of a history: the last ones before the first target.
        include_known_positives: fill ``known_positives``; needs ``training_events``.
        training_events: (E,) bool events that training may see; given for training rows only. It also makes
            ``sample_weight`` the weight of the target, if the interactions have weights.
        include_whole_history: fill ``whole_history``.
        all_positions: make the rows windows of M = ``max_history`` targets, for models that train on all of
            them at once: of each user, from the last target p backwards, one row at p, p − M, p − 2 M … Its
            history is the M events before p as ever, and ``targets``, of the shape (B, L) of the histories,
            holds at each position the item that follows the event there, or 0 if that is not a target;
            ``sample_weight`` is (B, L) too. So every target is in exactly one row.
        next_targets: draws the targets of training that take the place of each row's or position's; then
            ``targets`` is (B, T), or with all positions (B, L, T) if T is above 1, and ``sample_weight``
            likewise if T is above 1.
        events: times and features of the events for the histories; None to leave them out.
        device: where the events of the histories are kept, and batches are made; None = where they are. What
            is small, or of a size that follows from values, is gathered as ever and then sent there.
        weight_scale: what the weights are multiplied by.

    Raises:
        ValueError: if max_history is below 1, or known positives are asked for without training events.
    """

    def __init__(
        self,
        interactions: Interactions,
        rows: TargetRows,
        max_history: int,
        include_known_positives: bool = False,
        training_events: Tensor | None = None,
        include_whole_history: bool = False,
        all_positions: bool = False,
        next_targets: NextTargets | None = None,
        events: EventTable | None = None,
        device: torch.device | None = None,
        weight_scale: float = 1.0,
    ) -> None:
        if max_history < 1:
            raise ValueError(f"max_history={max_history} must be at least 1")
        if include_known_positives and training_events is None:
            raise ValueError("include_known_positives needs training_events, which only training rows have")
        self.interactions = interactions
        self.rows = _windows(interactions, rows, max_history) if all_positions else rows
        self._is_target: Tensor | None = None
        if all_positions:
            self._is_target = torch.zeros(len(interactions), dtype=torch.bool)
            self._is_target[rows.first] = True
        self.next_targets = next_targets
        self.max_history = max_history
        self.include_whole_history = include_whole_history
        self._device = device
        self._items = interactions.items if device is None else interactions.items.to(device)
        self._events = events if events is None or device is None else events.to(device)
        self._weights = interactions.weights if training_events is not None else None
        self._weight_scale = weight_scale
        self._known: tuple[Tensor, Tensor] | None = None
        if include_known_positives and training_events is not None:
            counts = torch.bincount(interactions.users[training_events], minlength=interactions.num_users + 1)
            offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
            self._known = interactions.items[training_events], offsets

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> RetrievalBatch:
        """Return a batch of one row."""
        return self.__getitems__([index])

    @cached_property
    def widths(self) -> Tensor:
        """(rows,) the positions that each row takes up: the events of its history.

        With ``all_positions`` a target before which there is none takes up one too.
        """
        first = self.rows.first
        start = self.interactions.user_offsets[self.interactions.users[first]]
        widths = first - start
        if self._is_target is not None:
            widths = widths + self._is_target[start]
        return widths.clamp(max=self.max_history)

    @cached_property
    def _single(self) -> bool:
        """Whether each row has one target, as in training."""
        return bool((self.rows.stop - self.rows.first == 1).all())

    def __getitems__(self, indices: Sequence[int] | Tensor) -> RetrievalBatch:
        """Return the rows ``indices`` (B,) as one batch.

        Raises:
            IndexError: if an index is out of range.
        """
        data = self.interactions
        index = torch.as_tensor(indices, dtype=torch.int64)
        first, stop = self.rows.first[index], self.rows.stop[index]
        users = data.users[first]
        start = data.user_offsets[users]
        width = max(1, int(self.widths[index].max())) if len(index) else 1
        known: Ids | None = None
        whole: Ids | None = None
        if self.include_whole_history:
            whole = ItemLists.of_ranges(data.items, start, first).compact(left=True)
        if self._known is not None:
            items, offsets = self._known
            distinct, number = users.unique(return_inverse=True)  # a user with many events is in many rows
            known = ItemLists.of_ranges(items, offsets[distinct], offsets[distinct + 1], number).compact()
        events = self._events_of_targets(first, start, stop, width)
        targets: Ids
        if events is None:
            targets = data.items[first].unsqueeze(1) if self._single else targets_of_rows(data, first, stop)
            weight = None if self._weights is None else self._weights[first]
        else:
            targets = data.items[events.clamp(min=0)].where(events >= 0, 0)
            weight = self._weights_of(events)
        if weight is not None and self._weight_scale != 1.0:
            weight = weight * self._weight_scale
        begin, end = start, first
        if self._device is not None:
            begin, end = sent(torch.stack([start, first]), self._device).unbind()
        windows = Windows.of(begin, end, width)
        batch = RetrievalBatch(
            history=windows.filled(self._items),
            targets=targets,
            users=data.known_users(users),
            sample_weight=weight,
            known_positives=known,
            whole_history=whole,
            events=None if self._events is None else self._events.windows(windows),
        )
        return batch if self._device is None else batch.sent(self._device)

    def _events_of_targets(self, first: Tensor, start: Tensor, stop: Tensor, width: int) -> Tensor | None:
        """Return the events of the targets, as their positions, −1 = none; None for those of the rows.

        (B, L) with all positions, (B, T) with targets that are drawn, (B, L, T) with both and T above 1.
        """
        draw = None if self.next_targets is None else self.next_targets.draw
        if self._is_target is None:
            return None if draw is None else draw(first)
        position = first.unsqueeze(1) + torch.arange(1 - width, 1)  # one event after the history's
        inside = (position >= start.unsqueeze(1)) & (position < stop.unsqueeze(1))
        is_target = self._is_target[position.where(inside, 0)] & inside
        if draw is None:
            return position.where(is_target, -1)
        drawn = draw(position[is_target])
        events = torch.full((*position.shape, drawn.shape[1]), -1)
        events[is_target] = drawn
        return events.squeeze(2)

    def _weights_of(self, events: Tensor) -> Tensor | None:
        """Return the weights of events, those of single targets (B,) alone; 0 for none."""
        if self._weights is None:
            return None
        weights = self._weights[events.clamp(min=0)].where(events >= 0, 0.0)
        return weights.squeeze(1) if self._is_target is None else weights


def _windows(interactions: Interactions, rows: TargetRows, length: int) -> TargetRows:
    """Return the last targets of the windows, ``length`` events long, that hold all targets of ``rows``."""
    users = interactions.users[rows.first]
    last = torch.full((interactions.num_users + 1,), -1)
    last.scatter_reduce_(0, users, rows.first, "amax")
    # from the end, so that the windows with the latest targets are full; one without a target is not a row
    ends = torch.unique(last[users] - (last[users] - rows.first) // length * length)
    return TargetRows(ends, ends + 1)

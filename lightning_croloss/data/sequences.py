"""SequenceDataset: whole batches gathered from the event columns, without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.interactions import Interactions
from lightning_croloss.data.splits import TargetRows


class SequenceDataset(Dataset[RetrievalBatch]):
    """Rows of a split as :class:`RetrievalBatch`.

    Args:
        interactions: the events.
        rows: positions of the targets.
        max_history: length L of the histories: the last L events before the first target.
        include_known_positives: fill ``known_positives``; needs ``training_events``.
        training_events: (E,) bool events that training may see; given for training rows only. It also makes
            ``sample_weight`` the weight of the target, if the interactions have weights.
        include_whole_history: fill ``whole_history``.

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
    ) -> None:
        if max_history < 1:
            raise ValueError(f"max_history={max_history} must be at least 1")
        if include_known_positives and training_events is None:
            raise ValueError("include_known_positives needs training_events, which only training rows have")
        self.interactions = interactions
        self.rows = rows
        self.max_history = max_history
        self.include_whole_history = include_whole_history
        self._weights = interactions.weights if training_events is not None else None
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

    def __getitems__(self, indices: Sequence[int] | Tensor) -> RetrievalBatch:
        """Return the rows ``indices`` (B,) as one batch.

        Raises:
            IndexError: if an index is out of range.
        """
        data = self.interactions
        index = torch.as_tensor(indices, dtype=torch.int64)
        first, stop = self.rows.first[index], self.rows.stop[index]
        users = data.users[first]
        beginning = torch.maximum(first - self.max_history, data.user_offsets[users])
        width = int((stop - first).max()) if len(index) else 1
        known = whole = None
        if self.include_whole_history:
            start = data.user_offsets[users]
            longest = int((first - start).max()) if len(index) else 0
            whole = _window(data.items, first - longest, start, first, longest)
        if self._known is not None:
            items, offsets = self._known
            longest = int((offsets[users + 1] - offsets[users]).max()) if len(index) else 0
            known = _window(items, offsets[users], offsets[users], offsets[users + 1], longest)
        return RetrievalBatch(
            history=_window(data.items, first - self.max_history, beginning, first, self.max_history),
            targets=_window(data.items, first, first, stop, width),
            users=users,
            sample_weight=None if self._weights is None else self._weights[first],
            known_positives=known,
            whole_history=whole,
        )


def _window(column: Tensor, origin: Tensor, begin: Tensor, stop: Tensor, width: int) -> Tensor:
    """Return (B, width): column[origin … origin + width) with 0 outside of [begin, stop)."""
    position = origin.unsqueeze(1) + torch.arange(width)
    inside = (position >= begin.unsqueeze(1)) & (position < stop.unsqueeze(1))
    # outside positions may lie beyond the column: gather position 0 instead, then blank it
    return column[position.where(inside, 0)].where(inside, 0)

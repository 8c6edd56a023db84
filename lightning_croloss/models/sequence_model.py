"""SequenceModel: what the architectures share that read the history in its order."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.common.checks import check_choice
from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.target_counts import has_targets, places_of
from lightning_croloss.models.history_model import HistoryModel
from lightning_croloss.models.windows import one_by_one, targets_of_windows
from lightning_croloss.recommend.user_vectors import groups_of, user_vectors

TRAIN_ON = ("last", "all")
FAR = 2**30  # longer than any history, and an int32, which compiled code takes positions for


class SequenceModel(HistoryModel):
    """Base of the architectures that have a state after each event: a subclass implements two steps.

    On a processor the rows of a training batch are read in groups of similar length, so that little of them
    is padding; loss and gradients are those of the whole batch. Over shards they are not, as all processes
    must look up items equally often.

    The events are shifted to the left before they are read, over the padding and over what
    ``history_dropout`` took out. A state depends on the events up to it only, so what stands behind the last
    event changes nothing. Of a dropped event nothing is left but a gap in the positions, where an
    architecture has them; the target that follows it is predicted all the same, from the events that are left
    before it. A history without events has a vector of its own.

    Args:
        num_items: size of the catalogue, from the data.
        train_on: "last": a training row is one target, predicted from the ``max_history`` events before it;
            "all": a row is a window of up to ``max_history`` targets, each predicted from the events before
            it in the window. An epoch has the same targets, each once, at a fraction of the cost: choose a
            smaller ``batch_size``, since that counts windows.
        **kwargs: arguments of ``HistoryModel`` and ``RetrievalModel``.

    Attributes:
        sees_later_events: whether states depend on later events of the history, so that the architecture
            cannot train on all of its positions at once.

    Raises:
        ValueError: ``train_on`` is unknown, or "all" of an architecture that sees later events.
    """

    sees_later_events = False
    starts_small = True

    def __init__(self, num_items: int, train_on: str = "last", **kwargs: Any) -> None:
        super().__init__(num_items, **kwargs)
        check_choice("train_on", train_on, TRAIN_ON)
        if self.sees_later_events and train_on == "all":
            raise ValueError(
                f'{type(self).__name__} sees later events of a history, the very targets of train_on="all": '
                'train it with train_on="last"'
            )
        self.train_on = train_on
        self.all_positions = train_on == "all"
        self.empty_user = nn.Parameter(torch.randn(self.embedding_dim) * self.embedding_dim**-0.5)

    @abstractmethod
    def event_states(self, events: Tensor, numbers: Tensor, lengths: Tensor) -> Tensor:
        """Return the state after each event, which must not depend on later ones to train on all positions.

        Args:
            events: (B, L, D) embeddings of the events, oldest first, then padding.
            numbers: (B, L) each event's number in the whole history, from 1, dropped events counted; 0 at
                padding.
            lengths: (B,) number of events in the whole history.

        Returns:
            (B, L, S), of any finite values after the last event.
        """

    def timed_states(self, events: Tensor, numbers: Tensor, lengths: Tensor, times: Tensor) -> Tensor:
        """Return the same of events whose times are known; an architecture that ``reads_times`` uses these.

        Args:
            events: as of :meth:`event_states`.
            numbers: the same.
            lengths: the same.
            times: (B, L) int64 the time of each event, anything at padding.
        """
        return self.event_states(events, numbers, lengths)

    @abstractmethod
    def read_out(self, states: Tensor) -> Tensor:
        """Map states (B, S) to user vectors (B, D), not normalised."""

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the vector after the last event, (B, 1, D)."""
        states, counts = self._read(batch)
        rows = torch.arange(batch.batch_size, device=states.device)
        return self._users(states, rows, counts[:, -1])

    def training_users(self, batch: RetrievalBatch) -> tuple[Tensor, RetrievalBatch]:
        """Return user vectors (P, 1, D) and a batch of P rows: one for each row, or for each position.

        In the second case the history of the returned batch holds the last event alone.

        Raises:
            ValueError: the model trains on all positions, and the batch has no target for each, or more
                events than the model reads.
        """
        if not self.all_positions:
            return user_vectors(self, batch), batch
        targets = targets_of_windows(batch, 'train_on="all"', self.max_length)
        there = has_targets(targets)
        rows, positions = self._places(batch, there)
        flat = one_by_one(batch, targets, rows, positions)
        return self._users_of_targets(batch, there), flat

    def _users_of_targets(self, batch: RetrievalBatch, there: Tensor) -> Tensor:
        """Return the vector (P, 1, D) before each position that has a target; see ``user_vectors``.

        Args:
            batch: the windows.
            there: (B, L) bool, the positions with targets.
        """
        groups = groups_of(batch) if self.item_shards is None else None
        if groups is None:
            rows, positions = self._places(batch, there)
            states, counts = self._read(batch)
            return self._users(states, rows, counts[rows, positions])
        users, numbers = [], []
        for chosen, width in groups:
            rows, positions = there[chosen, -width:].nonzero(as_tuple=True)
            states, counts = self._read(batch.select(chosen).last_events(width))
            users.append(self._users(states, rows, counts[rows, positions]))
            numbers.append(chosen[rows] * there.shape[1] + positions - width)  # ascending in their order
        return torch.cat(users)[torch.cat(numbers).argsort()]

    @staticmethod
    def _places(batch: RetrievalBatch, there: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows (P,) and positions (P,) of the targets that are there (B, L)."""
        counts = batch.target_counts
        return places_of(there, None if counts is None else counts.positions)

    def _read(self, batch: RetrievalBatch) -> tuple[Tensor, Tensor]:
        """Return the states (B, L, S) after the events left, and their number (B, L) up to each position."""
        batch = self.visible(batch)
        events, mask = self.embed_history(batch)
        # real events first, each kind in its order; by distinct keys, since exports know no stable sort
        positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        order = torch.argsort(torch.where(mask, positions - FAR, positions), dim=1)
        numbers = (batch.history != 0).cumsum(1)
        events = events.gather(1, order.unsqueeze(-1).expand_as(events))
        ordered, lengths = numbers.where(mask, 0).gather(1, order), numbers[:, -1]
        times = None if batch.events is None or not self.reads_times else batch.events.times
        if times is None:
            return self.event_states(events, ordered, lengths), mask.cumsum(1)
        return self.timed_states(events, ordered, lengths, times.gather(1, order)), mask.cumsum(1)

    def _users(self, states: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        """Return the normalised vectors (P, 1, D) of the rows (P,) after so many events (P,)."""
        vectors = self.read_out(states[rows, (counts - 1).clamp(min=0)])
        vectors = torch.where(counts.unsqueeze(1) > 0, vectors, self.empty_user.to(vectors.dtype))
        return self.normalize(vectors).unsqueeze(1)

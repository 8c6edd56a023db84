"""RetrievalBatch: what a model is given for one step."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class RetrievalBatch:
    """One batch of users with their histories and targets; ids are int64, 0 is padding.

    Attributes:
        history: (B, L) item ids, left-padded with 0, oldest first.
        targets: (B, T) item ids, right-padded with 0; T is 1 in training and for leave-one-out. In training
            on all positions (B, L), at each position the item that follows the history's, 0 = none.
        users: (B,) user ids, 1 … num_users.
        sample_weight: (B,) weight of each row in the loss, or None for equal weights; in training on all
            positions (B, L), that of each target.
        known_positives: (B, E) every item of the user's training events, padded with 0, where a sampler
            asked for it; else None.
        whole_history: (B, E) every item that the user had before the first target, left-padded with 0,
            where evaluation leaves them out; else None.
        recipients: (B,) in prediction the number of each user among the data's ``recipients``, from 1, which
            has users that training left out too; else None.
    """

    history: Tensor
    targets: Tensor
    users: Tensor
    sample_weight: Tensor | None = None
    known_positives: Tensor | None = None
    whole_history: Tensor | None = None
    recipients: Tensor | None = None

    @property
    def items_before(self) -> Tensor:
        """(B, E) the items before the first target: all of them if the batch has them, else the history."""
        return self.history if self.whole_history is None else self.whole_history

    @property
    def batch_size(self) -> int:
        """Number of rows B."""
        return self.history.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RetrievalBatch:
        """Return the batch with every tensor on ``device``."""
        moved = {
            field.name: value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value
            for field in fields(self)
            for value in (getattr(self, field.name),)
        }
        return RetrievalBatch(**moved)

"""RetrievalBatch: what a model is given for one step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass
class GivenFeatures:
    """Features of users that are given with a batch, for users whom the model does not know by their ids.

    Attributes:
        values: for each feature (B, W), int64 ids of tokens padded with 0, or float32 with NaN where missing.
        given: (B,) bool, whether a user has any.
    """

    values: list[Tensor]
    given: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GivenFeatures:
        """Return the features with every tensor on ``device``."""
        values = [value.to(device, non_blocking=non_blocking) for value in self.values]
        return GivenFeatures(values, self.given.to(device, non_blocking=non_blocking))


@dataclass
class RetrievalBatch:
    """One batch of users with their histories and targets; ids are int64, 0 is padding.

    Attributes:
        history: (B, L) item ids, left-padded with 0, oldest first.
        targets: (B, T) item ids, right-padded with 0; T is 1 in training and for leave-one-out. In
            evaluation they are a set: no item comes twice. In training on all positions (B, L), at each
            position the item that follows the history's, 0 = none.
        users: (B,) user ids, 1 … num_users.
        sample_weight: (B,) weight of each row in the loss, or None for equal weights; in training on all
            positions (B, L), that of each target.
        known_positives: (B, E) every item of the user's training events, padded with 0, where a sampler
            asked for it; else None.
        whole_history: (B, E) every item that the user had before the first target, left-padded with 0,
            where evaluation leaves them out; else None.
        recipients: (B,) in prediction the number of each user among the data's ``recipients``, from 1, which
            has users that training left out too; else None.
        user_features: features of users whose id is 0; None = the model's own alone.
    """

    history: Tensor
    targets: Tensor
    users: Tensor
    sample_weight: Tensor | None = None
    known_positives: Tensor | None = None
    whole_history: Tensor | None = None
    recipients: Tensor | None = None
    user_features: GivenFeatures | None = None

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
        moved: dict[str, Any] = {
            field.name: None if value is None else value.to(device, non_blocking=non_blocking)
            for field in fields(self)
            for value in (getattr(self, field.name),)
        }
        return RetrievalBatch(**moved)

"""Vectors of the users of a batch, encoded in groups of similar length, so that little of them is padding."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch

#: Rows that are encoded together: enough to fill a processor's matrix products.
GROUP = 128
#: Groups must spare this share of the positions: else the batch is encoded as it is.
LEAST_SAVED = 0.2


class UserEncoder(Protocol):
    """What of a model is needed here."""

    @property
    def needs_history(self) -> bool:
        """Whether it goes by the users' histories."""

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the users' vectors (B, K, D)."""


def user_vectors(model: UserEncoder, batch: RetrievalBatch) -> Tensor:
    """Return ``model.encode_users(batch)`` (B, K, D), in the order of the batch, as in evaluation.

    On a processor histories of similar length are encoded together, each group as wide as its longest. An
    accelerator encodes the batch as it is: it would have to wait for the lengths, and gains from large
    batches. So does a compiled model, whose graph would depend on them.

    Args:
        model: the model, in evaluation mode: a user's vector depends on its own row only.
        batch: the users.
    """
    history = batch.history
    groups = None
    if (
        len(history) > GROUP
        and history.device.type == "cpu"
        and model.needs_history
        and not torch.compiler.is_compiling()
    ):
        groups = groups_by_width(widths_of(history), history.shape[1])
    if groups is None:
        return model.encode_users(batch)
    found = [model.encode_users(batch.select(rows).last_events(width)) for rows, width in groups]
    order = torch.cat([rows for rows, _ in groups])
    return torch.cat(found)[order.argsort()]


def widths_of(history: Tensor) -> Tensor:
    """Return the number (B,) of positions from the first event to the end of left-padded ids (B, L)."""
    real = history != 0
    return (history.shape[1] - real.int().argmax(1)).where(real.any(1), 0)


def groups_by_width(widths: Tensor, whole: int) -> list[tuple[Tensor, int]] | None:
    """Return groups of rows, each with its width, at least 1; None if they would spare little.

    Args:
        widths: (B,) the width that each row needs.
        whole: the width of the batch.
    """
    order = widths.argsort(stable=True)
    groups = [(rows, max(1, int(widths[rows[-1]]))) for rows in order.split(GROUP) if len(rows)]
    positions = sum(len(rows) * width for rows, width in groups)
    return groups if positions <= (1 - LEAST_SAVED) * len(widths) * whole else None

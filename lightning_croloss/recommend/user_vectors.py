"""Vectors of the users of a batch, encoded in groups of similar length, so that little of them is padding."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.target_counts import has_targets
from lightning_croloss.sharding.row_shards import RowShards

#: Rows that are encoded together at least: enough to fill a processor's matrix products.
FEWEST_ROWS = 32
#: The most groups of a batch.
MOST_GROUPS = 8
#: Groups must spare this share of the positions: else the batch is encoded as it is.
LEAST_SAVED = 0.2
#: Rows of a group, and the width that they need.
Group = tuple[Tensor, int]


class UserEncoder(Protocol):
    """What of a model is needed here."""

    @property
    def needs_history(self) -> bool:
        """Whether it goes by the users' histories."""

    @property
    def item_shards(self) -> RowShards | None:
        """Which process holds which rows of the items; None if all are here."""

    def encode_users(self, batch: RetrievalBatch) -> Tensor:
        """Return the users' vectors (B, K, D)."""


def user_vectors(model: UserEncoder, batch: RetrievalBatch) -> Tensor:
    """Return ``model.encode_users(batch)`` (B, K, D), in the order of the batch, as in evaluation.

    On a processor histories of similar length are encoded together, each group as wide as its longest. An
    accelerator encodes the batch as it is: it would have to wait for the lengths, and gains from large
    batches. So does a compiled model, whose graph would depend on them, and one whose items lie in shards, as
    all processes must look up items equally often.

    Args:
        model: the model, in evaluation mode: a user's vector depends on its own row only.
        batch: the users.
    """
    groups = groups_of(batch) if model.needs_history and model.item_shards is None else None
    if groups is None:
        return model.encode_users(batch)
    found = [model.encode_users(batch.select(rows).last_events(width)) for rows, width in groups]
    order = torch.cat([rows for rows, _ in groups])
    return torch.cat(found)[order.argsort()]


def groups_of(batch: RetrievalBatch) -> list[Group] | None:
    """Return groups of rows of similar width to be encoded apart; None if the batch is better left whole.

    In training on all positions the width is that of the targets too.
    """
    history, targets = batch.history, batch.targets
    if history.device.type != "cpu" or len(history) <= FEWEST_ROWS or torch.compiler.is_compiling():
        return None
    used = history != 0
    if isinstance(targets, Tensor) and targets.shape[:2] == history.shape:
        used = used | has_targets(targets)
    return groups_by_width(widths_of(used), history.shape[1])


def widths_of(used: Tensor) -> Tensor:
    """Return the number (B,) of positions from the first that is used to the end, for used (B, L) bool."""
    return (used.shape[1] - used.int().argmax(1)).where(used.any(1), 0)


def groups_by_width(widths: Tensor, whole: int) -> list[Group] | None:
    """Return groups of rows, each with its width, at least 1; None if they would spare little.

    Args:
        widths: (B,) the width that each row needs.
        whole: the width of the batch.
    """
    order = widths.argsort(stable=True)
    parts = order.split(max(FEWEST_ROWS, -(-len(order) // MOST_GROUPS)))
    groups = [(rows, max(1, int(widths[rows[-1]]))) for rows in parts if len(rows)]
    positions = sum(len(rows) * width for rows, width in groups)
    return groups if positions <= (1 - LEAST_SAVED) * len(widths) * whole else None

"""Vectors of the users of a batch, encoded in groups of similar length, so that little of them is padding."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_croloss.data.batch import RetrievalBatch
from lightning_croloss.data.target_counts import has_targets
from lightning_croloss.sharding.row_shards import RowShards

#: What a group costs besides its own rows: as many rows more, as wide as it is, which a matrix product or a
#: step along the history takes no time for if there are only few, and the time of so many positions, in which
#: its operators are called. Of what was measured (SASRec, ESASRec, GRU4Rec) no model is the best at these,
#: and each within a tenth.
ROWS_BESIDES, POSITIONS_BESIDES = 8, 128
#: Groups must spare this share of what the whole batch costs: else it is encoded as it is.
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
    if history.device.type != "cpu" or len(history) < 2 or torch.compiler.is_compiling():
        return None
    used = history != 0
    if isinstance(targets, Tensor) and targets.shape[:2] == history.shape:
        used = used | has_targets(targets)
    return groups_by_width(widths_of(used), history.shape[1])


def widths_of(used: Tensor) -> Tensor:
    """Return the number (B,) of positions from the first that is used to the end, for used (B, L) bool."""
    return (used.shape[1] - used.int().argmax(1)).where(used.any(1), 0)


def groups_by_width(widths: Tensor, whole: int) -> list[Group] | None:
    """Return the groups of rows that cost least, each with its width, at least 1; None if they spare little.

    Args:
        widths: (B,) the width that each row needs.
        whole: the width of the batch.
    """
    order = widths.argsort(stable=True)
    kinds, counts = np.unique(widths.clamp(min=1).numpy(), return_counts=True)
    rows = np.concatenate([[0], counts.cumsum()])  # narrower than each kind of width
    least, begins = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    # the best groups of the rows up to each kind: the widest of them begins where all together cost least
    for end in range(1, len(rows)):
        costs = least[:end] + _costs(rows[end] - rows[:end], kinds[end - 1])
        begins[end] = costs.argmin()
        least[end] = costs[begins[end]]
    if least[-1] > (1 - LEAST_SAVED) * _costs(rows[-1], np.int64(whole)):
        return None
    groups, end = [], len(kinds)
    while end:
        begin = int(begins[end])
        groups.append((order[rows[begin] : rows[end]], int(kinds[end - 1])))
        end = begin
    return groups[::-1]


def _costs(rows: NDArray[np.int64], width: np.int64) -> NDArray[np.int64]:
    """Return what groups of so many rows and of a width cost, in positions."""
    costs: NDArray[np.int64] = (rows + ROWS_BESIDES) * width + POSITIONS_BESIDES
    return costs

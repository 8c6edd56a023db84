"""Item ids as callers have them, and as the losses compare them: with 0 for padding."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids, ItemLists


@overload
def inner_ids(ids: Tensor, padding_id: int | None) -> Tensor: ...
@overload
def inner_ids(ids: Ids, padding_id: int | None) -> Ids: ...


def inner_ids(ids: Ids, padding_id: int | None) -> Ids:
    """Return ids in which 0 is padding, and nothing else is.

    Args:
        ids: integers of any shape, any at all: indices from 0, hashes.
        padding_id: the id that is padding; None = none is.

    Returns:
        int64 ids, equal where the given ones are equal.
    """
    if isinstance(ids, ItemLists):
        if padding_id == 0 and ids.values.dtype == torch.long:
            return ids
        return ItemLists(inner_ids(ids.values, padding_id), ids.offsets, ids.rows)
    ids = ids.long()  # small types could hold neither the sums nor the positions that ids become
    if padding_id == 0:
        return ids
    shifted = torch.where(ids >= 0, ids + 1, ids)
    return shifted if padding_id is None else shifted.masked_fill(ids == padding_id, 0)

"""Ids that come again."""

from __future__ import annotations

import torch
from torch import Tensor


def without_repeats(ids: Tensor) -> Tensor:
    """Return ids (B, X) with 0 where an id comes again in its row; the first of each stays where it is."""
    if ids.shape[1] < 2:
        return ids
    ordered, order = ids.sort(dim=1, stable=True)
    repeated = torch.zeros_like(ids, dtype=torch.bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return ids.masked_fill(torch.zeros_like(repeated).scatter_(1, order, repeated), 0)

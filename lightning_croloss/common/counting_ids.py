"""Ids that count up, of which nobody has to find out again that they do."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


class _Made(NamedTuple):
    """What is known of ids that were made here, as long as PyTorch counts no change of them."""

    first: int
    number: int
    version: int


#: By the tensor itself: what is known ends with it, and no other one, such as a copy, is taken for it.
_made: WeakIdKeyDictionary = WeakIdKeyDictionary()


def counting_ids(first: int, number: int, device: torch.device) -> Tensor:
    """Return (number,) int64 ids that count up from the first, not to be changed."""
    ids = torch.arange(first, first + number, device=device)
    if not ids.is_inference():  # of which nobody counts the changes
        _made[ids] = _Made(first, number, ids._version)
    return ids


def known_first(ids: Tensor) -> int | None:
    """Return the first of ids that :func:`counting_ids` has made; None of others, and of changed ones."""
    made: _Made | None = _made.get(ids)
    return made.first if made is not None and made[1:] == (len(ids), ids._version) else None

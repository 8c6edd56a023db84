"""Positions in a history, counted so that padding on the left changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def positions_from_end(length: int, num_positions: int, device: torch.device) -> Tensor:
    """Return the position (L,) of each column of a left-padded history, 0 for the last event.

    Args:
        length: L.
        num_positions: number of positions that are told apart; events further back share the last of them.
        device: where the positions are wanted.
    """
    return torch.arange(length - 1, -1, -1, device=device).clamp(max=num_positions - 1)

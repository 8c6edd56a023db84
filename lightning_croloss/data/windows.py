"""Windows: the last events of each history, gathered from a column of all events."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Windows(NamedTuple):
    """The last places of ranges of a column.

    Attributes:
        positions: (B, width) places in the column, any where ``outside``.
        outside: (B, width) bool, True = before the range.
    """

    positions: Tensor
    outside: Tensor

    @classmethod
    def of(cls, begin: Tensor, stop: Tensor, width: int) -> Windows:
        """Return the last ``width`` places of ranges [begin, stop), both (B,)."""
        positions = stop.unsqueeze(1) + torch.arange(-width, 0, device=stop.device)
        outside = positions < begin.unsqueeze(1)
        return cls(positions.clamp_(min=0), outside)  # before the column there is nothing to gather

    def filled(self, column: Tensor, blank: float = 0) -> Tensor:
        """Return (B, width) what a column holds there, ``blank`` outside."""
        return column[self.positions].masked_fill_(self.outside, blank)

"""Memory that is used again: fresh pages of a large block cost more than to fill it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SpareMemory:
    """The memory of a gradient of a whole table that nobody needs any more, for the next step's.

    Copies and pickles begin with none.
    """

    def __init__(self) -> None:
        self._block: Tensor | None = None

    def give(self, block: Tensor) -> None:
        """Keep a tensor that nobody else uses from now on."""
        self._block = block

    def take(self, like: Tensor) -> Tensor:
        """Return an uninitialised tensor of the shape, type and device of another: what was given, or new."""
        block, self._block = self._block, None
        if block is not None and (block.shape, block.dtype, block.device, block.layout) == (
            like.shape,
            like.dtype,
            like.device,
            torch.strided,
        ):
            return block.detach()
        return torch.empty_like(like, memory_format=torch.contiguous_format)

    def forget(self) -> None:
        """Give the memory back."""
        self._block = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory out."""
        return {"_block": None}

"""Memory that is used again: fresh pages of a large block cost more than to fill it."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

#: Bytes from which on PyTorch's memory comes from the system and goes back to it, page by page.
FEWEST_BYTES = 2**20


def worth_keeping(block: Tensor) -> bool:
    """Tell whether memory of the size of a tensor is slower to get than to keep."""
    return block.nbytes >= FEWEST_BYTES


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


class Released:
    """A tensor that its owner is about to let go of, and its memory.

    Whoever else still holds the tensor, or a view of it, must not find other numbers in it.

    Args:
        tensor: what is let go of.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.block = tensor.detach()
        self._tensor = weakref.ref(tensor)

    @classmethod
    def of(cls, tensor: Tensor | None) -> Released | None:
        """Return the same of what may be None."""
        return None if tensor is None else cls(tensor)

    def is_free(self) -> bool:
        """Tell whether nobody holds the tensor or a view of it any more."""
        asked = getattr(torch._C, "_storage_Use_Count", None)  # not of PyTorch's promises
        if asked is None or self._tensor() is not None or self.block.layout != torch.strided:
            return False

        def holders(block: Tensor) -> int:
            """Return how many tensors share a tensor's memory, and as many more as it takes to ask."""
            return int(asked(block.untyped_storage()._cdata))

        return holders(self.block) == holders(torch.empty(0, device="cpu"))

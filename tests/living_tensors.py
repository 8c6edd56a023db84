"""How many tensors, and how many bytes of them, live at a time in a block."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LivingTensors(TorchDispatchMode):
    """Watches what operators return in a block.

    Attributes:
        most: the most tensors with memory of their own that lived at a time.
        most_bytes: the most bytes of these.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = self.most_bytes = 0
        self._living: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {id(each.untyped_storage()) for each in tree_leaves((args, kwargs)) if strided(each)}
        found = func(*args, **(kwargs or {}))
        for each in filter(strided, tree_leaves(found)):
            storage = each.untyped_storage()
            if id(storage) not in given | self._living.keys():
                self._living[id(storage)] = storage.nbytes()
                weakref.finalize(storage, self._living.pop, id(storage), None)
        self.most = max(self.most, len(self._living))
        self.most_bytes = max(self.most_bytes, sum(self._living.values()))
        return found


def strided(value: Any) -> bool:
    """Tell whether a value is a tensor with plain memory."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta

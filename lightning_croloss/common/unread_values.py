"""Tensors whose values must not be read: of a graph, of a function that is transformed, or made up."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def is_unread(tensor: Tensor) -> bool:
    """Return whether the values of a tensor must not be read here, though it may lie on the processor.

    A compiled graph has to hold for others too. Whoever reads values of other devices asks for the device.
    """
    return torch.compiler.is_compiling() or is_transformed(tensor)


def is_transformed(tensor: Tensor) -> bool:
    """Return whether functions of ``torch.func`` are at work, or a tensor of the processor is made up.

    What computes its own gradients cannot be transformed, and reads values on the processor.
    """
    if torch.compiler.is_compiling():
        return False  # a graph knows what becomes of it
    asked = getattr(torch._C, "_are_functorch_transforms_active", None)  # not of PyTorch's promises
    return (asked is not None and bool(asked())) or (isinstance(tensor, FakeTensor) and tensor.is_cpu)


def shares_memory(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors begin at the same address; those without memory share none."""
    if any(is_unread(each) or isinstance(each, FakeTensor) or each.is_meta for each in (one, other)):
        return False
    return one.data_ptr() == other.data_ptr() != 0

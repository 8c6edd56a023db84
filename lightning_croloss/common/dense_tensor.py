"""Whether an argument is a dense tensor, as one sentence if it is something else."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_tensor(name: str, value: object, shape: str) -> Tensor:
    """Return ``value`` if it is a dense tensor.

    Args:
        name: the argument, for the message.
        value: what was given.
        shape: the shape that it should have, in words.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a tensor {shape}, got {type(value).__name__}: torch.as_tensor({name}) makes one"
        )
    if value.layout is not torch.strided:
        raise TypeError(f"{name} must be a dense tensor {shape}, got {value.layout}: give .to_dense()")
    return value

"""Checks of the vectors and numbers that retrieval is given, before anything reaches a tensor operation."""

from __future__ import annotations

from numbers import Integral

import torch
from torch import Tensor

from lightning_croloss.common.dense_tensor import dense_tensor

#: What retrieval computes scores in.
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_vectors(users: object, item_matrix: object) -> None:
    """Check the representations of users (B, K, D) and of items (N, D).

    Raises:
        TypeError: one is not a dense tensor of floating-point numbers.
        ValueError: a shape does not fit, or they are on different devices.
    """
    users = _checked("users", users, "(B, K, D)")
    item_matrix = _checked("item_matrix", item_matrix, "(N, D)")
    if users.ndim != 3 or users.shape[1] == 0:
        raise ValueError(
            f"users must have shape (B, K, D), got {tuple(users.shape)}: "
            "give each user K >= 1 vectors, a single one by unsqueeze(1)"
        )
    if item_matrix.ndim != 2 or item_matrix.shape[1] != users.shape[2]:
        raise ValueError(
            f"item_matrix must have shape (N, {users.shape[2]}) to match users, got "
            f"{tuple(item_matrix.shape)}: encode users and items in the same dimension"
        )
    if users.device != item_matrix.device:
        raise ValueError(
            f"users and item_matrix must be on one device, got {users.device} and {item_matrix.device}: give "
            f"item_matrix.to({str(users.device)!r})"
        )


def check_tile_elements(tile_elements: object) -> None:
    """Check the most scores that are held at a time.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is below 1.
    """
    if not isinstance(tile_elements, Integral) or isinstance(tile_elements, bool):
        raise TypeError(f"tile_elements must be an integer, got {tile_elements!r}: such as 2**24")
    if tile_elements < 1:
        raise ValueError(f"tile_elements must be at least 1, got {tile_elements}: raise it")


def _checked(name: str, value: object, shape: str) -> Tensor:
    tensor = dense_tensor(name, value, shape)
    if tensor.dtype not in DTYPES:
        raise TypeError(
            f"{name} must be floating-point numbers {shape} of 16 bits or more, got {tensor.dtype}: give "
            f"{name}.float()"
        )
    return tensor

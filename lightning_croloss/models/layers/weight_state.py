"""What changes when weights do: the key of whatever is kept of a computation with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def state_of(weights: Iterable[Tensor]) -> tuple[Any, ...]:
    """Return a key that another value of a weight changes, unless it is swapped behind PyTorch's back.

    It equals no other where a weight was made in inference mode, of which nobody counts the changes.
    """
    return tuple(
        (weight.data_ptr(), weight.dtype, object() if weight.is_inference() else weight._version)
        for weight in weights
    )

"""The product of users and items, by the fastest kernel that the processor has for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

# With fewer rows the product reads items more than it computes, and oneDNN's preparation does not pay.
_FEWEST_ROWS_OF_ONEDNN = 32


def products(users: Tensor, items: Tensor, rows: int) -> Tensor:
    """Return ``users @ items.T`` without gradient or autocast: as precise as the inputs.

    On processors with AVX-512, float32 goes through oneDNN, which uses it whoever made the processor; MKL
    does not (on one by AMD 220 against 95 GFLOP/s a core, D = 64).

    Args:
        users: (R, D).
        items: (W, D).
        rows: the number of rows by which to choose the kernel. Products that must agree to the last bit
            where they hold the same pair are given the same number.

    Returns:
        (R, W), newly made.
    """
    with no_autocast(users.device):
        if users.device.type == "cpu" and users.dtype == torch.float32 and rows >= _FEWEST_ROWS_OF_ONEDNN:
            product = _onednn()
            if product is not None:
                return product(users, items)
        return users @ items.T


def no_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which autocast does not apply on the device."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


@cache
def _onednn() -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return oneDNN's product, None where it is missing or has no advantage."""
    capability = torch.backends.cpu.get_cpu_capability()
    if not (torch.backends.mkldnn.is_available() and capability.startswith("AVX512")):
        return None
    # PyTorch offers it to eager code by a detour with a copy only; the operator is that of compiled code
    for product in (_linear_pointwise, _linear_of_layouts):
        try:
            if torch.equal(product(torch.ones(2, 3), torch.ones(4, 3)), torch.full((2, 4), 3.0)):
                return product
        except (AttributeError, RuntimeError, TypeError):  # another version of PyTorch
            continue
    return None


def _linear_pointwise(users: Tensor, items: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(users, items, None, "none", [], "")
    return found


def _linear_of_layouts(users: Tensor, items: Tensor) -> Tensor:
    found: Tensor = functional.linear(users.to_mkldnn(), items.to_mkldnn()).to_dense()
    return found

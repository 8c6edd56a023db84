"""Products of matrices by the fastest kernel that the processor has for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.common.uncompiled import uncompiled

Product = Callable[[Tensor, Tensor], Tensor]

# With fewer rows a product reads more than it computes, and oneDNN's preparation does not pay.
_FEWEST_ROWS = 32


@uncompiled  # oneDNN's layouts are opaque to it
def fast_product(like: Tensor, rows: int) -> Product | None:
    """Return a function that computes ``a @ b.T`` faster than PyTorch's operator, or None if there is none.

    On processors with AVX-512, float32 goes through oneDNN, which uses it whoever made the processor; MKL
    does not (on an AMD processor 220 against 100 GFLOP/s a core, D = 64). The function supports neither
    gradient nor autocast, and returns a new matrix.

    Args:
        like: one of the factors, for device and dtype.
        rows: the number of rows by which to choose. Products that must agree to the last bit where they hold
            the same pair are given the same number.
    """
    if like.device.type != "cpu" or like.dtype != torch.float32 or rows < _FEWEST_ROWS:
        return None
    return _onednn()


@uncompiled
def product(users: Tensor, items: Tensor, rows: int) -> Tensor:
    """Return ``users @ items.T`` (R, W) of (R, D) and (W, D), without gradient, as precise as the inputs.

    Args:
        users: (R, D).
        items: (W, D).
        rows: as in :func:`fast_product`.
    """
    with no_autocast(users.device):
        fast = fast_product(users, rows)
        return users @ items.T if fast is None else fast(users, items)


@cache
def multiplies_fast(dtype: torch.dtype) -> bool:
    """Return whether the processor multiplies matrices of bfloat16 faster than those of float32.

    Those with AVX-512 BF16 do so twice as fast (AMD from Zen 4 on, Intel from Cooper Lake on), those with AMX
    more. Of other types and processors nothing is known.

    Args:
        dtype: of both factors.
    """
    if dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():
        return False
    known = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(supported is not None and supported() for supported in known)


def no_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which autocast does not apply on the device."""
    if torch.compiler.is_compiling():  # a graph is told once, whatever holds where it is made
        return torch.autocast(device.type, enabled=False)
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


@cache
def _onednn() -> Product | None:
    """Return oneDNN's product, None where it is missing or has no advantage."""
    capability = torch.backends.cpu.get_cpu_capability()
    if not (torch.backends.mkldnn.is_available() and capability.startswith("AVX512")):
        return None
    # PyTorch gives it to eager code only with an extra copy; this is the operator of compiled code
    for candidate in (_linear_pointwise, _linear_of_layouts):
        try:
            ones = torch.ones(4, 3, device="cpu")
            if torch.equal(candidate(ones[:2], ones), torch.full((2, 4), 3.0, device="cpu")):
                return candidate
        except (AttributeError, RuntimeError, TypeError):  # another version of PyTorch
            continue
    return None


def _linear_pointwise(a: Tensor, b: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return found


def _linear_of_layouts(a: Tensor, b: Tensor) -> Tensor:
    found: Tensor = functional.linear(a.to_mkldnn(), b.to_mkldnn()).to_dense()
    return found

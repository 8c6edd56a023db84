"""Whether kernels written in Triton may run: on which device, and unless somebody turned them off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import torch

#: Environment variable: 0 turns them off, 1 lets Triton's interpreter run them on a CPU too.
VARIABLE = "CROLOSS_TRITON"
#: Compute capabilities, 8.0 and those that begin with 9 or 10: of data centres, with enough memory in each
#: multiprocessor.
_ABLE = ((8, 0), (9,), (10,))

_switched: list[bool] = []


@contextmanager
def triton_kernels(enabled: bool) -> Iterator[None]:
    """Turn the kernels off within, or on; whatever ``CROLOSS_TRITON`` says.

    What is computed forward within keeps its choice for the backward pass.

    Args:
        enabled: False: everything takes the portable path. True: a device takes them for all that they can
            compute, even where they are slower; and a CPU takes them as well, which Triton can only do as an
            interpreter, started with ``TRITON_INTERPRET=1``, slow and for tests.
    """
    _switched.append(enabled)
    try:
        yield
    finally:
        _switched.pop()


def takes_triton(device: torch.device, pays: bool = True) -> bool:
    """Return whether kernels written in Triton are to run on the device; does not import it.

    Args:
        device: the device.
        pays: whether they are faster there; if not they run only where somebody turned them on.

    Raises:
        ValueError: ``CROLOSS_TRITON`` is neither 0 nor 1.
    """
    asked = _switched[-1] if _switched else _asked_by_environment()
    if asked is False or not (pays or asked) or not _is_installed():
        return False
    if device.type == "cuda":
        return _is_able(device.index if device.index is not None else torch.cuda.current_device())
    return asked is True and device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"


def _asked_by_environment() -> bool | None:
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE} must be 0 or 1, got {asked!r}")
    return {"": None, "0": False, "1": True}[asked]


@cache
def _is_installed() -> bool:
    return find_spec("triton") is not None


@cache
def _is_able(index: int) -> bool:
    """Return whether a device is of NVIDIA and of a kind that they are made for."""
    return torch.version.cuda is not None and any(
        torch.cuda.get_device_capability(index)[: len(able)] == able for able in _ABLE
    )

"""How programs of kernels in Triton share the work; does not import it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

#: Programs that a multiprocessor holds at a time.
_PROGRAMS_EACH = 2


def programs_of(device: torch.device) -> int:
    """Return how many programs fill a device."""
    if device.type != "cuda":
        return 1
    return _PROGRAMS_EACH * torch.cuda.get_device_properties(device).multi_processor_count


def parts_of(several: int, steps: int, programs: int) -> tuple[int, int]:
    """Divide the steps of programs among more of them, if these are too few to fill the device.

    Args:
        several: number of programs.
        steps: steps that each of them has, at least one.
        programs: how many fill the device.

    Returns:
        Into how many parts to divide them, none of which is empty, and steps of a part.
    """
    of_part = -(-steps // max(1, min(steps, programs // several)))
    return -(-steps // of_part), of_part


def padded_width(width: int) -> int:
    """Return the power of two, at least 16, that holds a vector's width."""
    return max(16, 1 << (width - 1).bit_length())


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which kernels start on the device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()

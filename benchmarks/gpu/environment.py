"""On what it ran: the device and the versions, without names of machines."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.common.measuring import machine, versions

PACKAGES = ("triton", "lightning", "torchmetrics", "numpy", "pytest", "jsonargparse", "polars")


def environment(device: str) -> dict[str, Any]:
    """Describe device and versions.

    Raises:
        RuntimeError: the device is not there.
    """
    found: dict[str, Any] = {"device": device, **machine(), **versions(PACKAGES)}
    if device != "cuda":
        return found
    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no GPU: check the driver, or run with DEVICE=cpu")
    properties = torch.cuda.get_device_properties(0)
    return {
        **found,
        "GPU": properties.name,
        "GPU memory, GiB": round(properties.total_memory / 2**30, 1),
        "compute capability": f"{properties.major}.{properties.minor}",
        "CUDA": torch.version.cuda,
    }

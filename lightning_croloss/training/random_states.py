"""The states of the random number generators of a process, as plain types and tensors."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Return the states of the generators of Python, numpy and torch, as a checkpoint can hold them."""
    of_numpy = np.random.get_state(legacy=False)  # noqa: NPY002  (what others draw from)
    of_numpy["state"]["key"] = torch.from_numpy(of_numpy["state"]["key"].astype(np.int64))
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": of_numpy,
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Set the states that :func:`random_states` has returned, in this process or another."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    of_numpy = states["numpy"]
    inner = {**of_numpy["state"], "key": of_numpy["state"]["key"].numpy().astype(np.uint32)}
    np.random.set_state({**of_numpy, "state": inner})  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])

"""Inputs of the losses on the device, made on the CPU in float64, and what a loss makes of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lightning_croloss.losses import RetrievalLoss
from tests.gpu.device import sized

ROWS, COLUMNS, WIDTH, ITEMS = sized(48, 5), sized(1000, 23), sized(32, 8), sized(1500, 29)


def inputs(
    scale: float = 1.0, rows: int = ROWS, columns: int = COLUMNS, width: int = WIDTH
) -> tuple[Tensor, Tensor, Tensor]:
    """Return users (B, D), positives (B, D) and candidates (M, D), unit vectors in float64 on the CPU."""
    generator = torch.Generator().manual_seed(1)
    shapes = ((rows, width), (rows, width), (columns, width))
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return tuple(scale * functional.normalize(vectors, dim=-1) for vectors in drawn)


def options(name: str, rows: int = ROWS, columns: int = COLUMNS) -> dict[str, Any]:
    """Return nothing; the ids with accidental hits, padding and exclusions; or every option besides.

    With "each" every row has draws of its own probability.
    """
    generator = torch.Generator().manual_seed(2)
    if name == "plain":
        return {}
    candidates = torch.randint(1, ITEMS + 1, (columns,), generator=generator)
    candidates[::7] = 0
    excluded = torch.randint(0, ITEMS + 1, (rows, 4), generator=generator)
    targets = torch.randint(1, ITEMS + 1, (rows,), generator=generator)
    targets[::2] = candidates[1 + torch.arange(len(targets[::2])) % 5]
    found = {"target_ids": targets, "candidate_ids": candidates, "excluded_ids": excluded}
    if name == "ids":
        return found
    shape = (rows, columns) if name == "each" else (columns,)
    log_prob = -8.0 - torch.rand(shape, generator=generator, dtype=torch.float64)
    weight = torch.rand(rows, generator=generator, dtype=torch.float64) + 0.1
    draws = torch.randint(1, columns + 1, (rows,), generator=generator)
    return {**found, "candidate_log_prob": log_prob, "sample_weight": weight, "num_sampled": draws}


def outcome(
    loss: RetrievalLoss, vectors: tuple[Tensor, ...], given: dict[str, Any], dtype: torch.dtype, device: str
) -> list[Tensor]:
    """Return the value and the gradients of the loss, the vectors being of a type, on a device.

    A value of each row is summed up with unequal weights for the gradients.
    """
    moved = {
        name: value.to(device, dtype if value.is_floating_point() else value.dtype)
        if isinstance(value, Tensor)
        else value
        for name, value in given.items()
    }
    leaves = [vector.to(device, dtype).requires_grad_() for vector in vectors]
    value = loss.to(device).from_embeddings(*leaves, **moved)
    weights = torch.linspace(-1.0, 2.0, value.numel(), device=device, dtype=value.dtype)
    total = value if value.dim() == 0 else (value * weights).sum()
    return [value, *torch.autograd.grad(total, leaves)]

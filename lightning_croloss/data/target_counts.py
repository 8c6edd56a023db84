"""TargetCounts: how many targets a batch has, counted before it moves to an accelerator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Devices that find so many places as they are told without having to wait for their number.
_STATIC = ("cuda", "meta")


@dataclass(frozen=True)
class TargetCounts:
    """Numbers of the targets of a batch, known to the host.

    An accelerator that is asked where the targets are would have to tell how many it found, and the host
    would wait for it in every step.

    Attributes:
        targets: what the numbers are of, and of no other tensor: what was counted, or the same targets
            on another device or row by row.
        on_host: what was counted.
        positions: number of rows and positions that have any.
        total: number of targets.
    """

    targets: Tensor
    on_host: Tensor
    positions: int
    total: int

    @classmethod
    def of(cls, targets: Tensor) -> TargetCounts:
        """Count targets (B, T), (B, L) or (B, L, T), which are filled from the left."""
        return cls(targets, targets, int(has_targets(targets).sum()), int((targets != 0).sum()))


def has_targets(targets: Tensor) -> Tensor:
    """Return which positions (B, L) have targets, of (B, L), or (B, L, T) that are filled from the left."""
    return (targets if targets.ndim == 2 else targets[..., 0]) != 0


def places_of(chosen: Tensor, number: int | None) -> tuple[Tensor, Tensor]:
    """Return rows (P,) and columns (P,) of what is true in (B, L), row by row.

    Args:
        chosen: (B, L) bool.
        number: P if it is known: nothing waits for the device then.
    """
    if number is None or chosen.device.type not in _STATIC:
        rows, columns = chosen.nonzero(as_tuple=True)
    else:
        rows, columns = torch.nonzero_static(chosen, size=number).unbind(1)
    return rows, columns


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return values of the host on a device, which copies them by itself."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)

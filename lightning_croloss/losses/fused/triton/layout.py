"""Layout: the sizes of blocks and tiles, and how many programs share a sweep."""

from __future__ import annotations

from typing import NamedTuple

import torch

from lightning_croloss.common.triton_grid import padded_width, programs_of


class Cut(NamedTuple):
    """How one kernel cuts the score matrix.

    Attributes:
        rows: rows of a block, a power of two from 16 on.
        columns: candidates of a tile, likewise.
        warps: warps of a program.
        stages: tiles that are on their way from memory at a time.
        precision: how products of float32 are computed: "ieee", or as precise by tensor cores, "tf32x3".
    """

    rows: int
    columns: int
    warps: int
    stages: int
    precision: str = "ieee"


#: For each type of the products: up to which padded width, and the cuts of the forward and backward sweeps.
#: They are the largest whose numbers fit the registers by what the compiler says for compute capability 9.0.
CUTS = {
    torch.bfloat16: (
        (64, Cut(128, 64, 8, 3), Cut(64, 128, 8, 3)),
        (128, Cut(128, 64, 8, 3), Cut(64, 128, 8, 3)),
        (256, Cut(64, 64, 8, 2), Cut(64, 64, 8, 3)),
        (512, Cut(64, 32, 8, 2), Cut(64, 32, 8, 2)),
    ),
    torch.float32: (
        (64, Cut(64, 64, 8, 2), Cut(64, 64, 8, 2)),
        (128, Cut(32, 64, 8, 2), Cut(64, 32, 8, 2)),
        (256, Cut(32, 32, 8, 2), Cut(32, 32, 8, 2)),
        (512, Cut(16, 32, 8, 2), Cut(32, 16, 8, 2)),
    ),
}
#: Wider vectors would not fit the memory of a multiprocessor beside each other.
LARGEST_WIDTH = 512


class Layout(NamedTuple):
    """How both kernels cut the score matrix.

    Attributes:
        sweep: that of the forward sweep.
        gradient: that of the backward sweep.
        programs: programs that fill the device.
    """

    sweep: Cut
    gradient: Cut
    programs: int

    @classmethod
    def choose(cls, width: int, dtype: torch.dtype, device: torch.device) -> Layout:
        """Choose for vectors of a width, products of a type and a device."""
        padded = padded_width(width)
        _, sweep, gradient = next(entry for entry in CUTS[dtype] if padded <= entry[0])
        return cls(sweep, gradient, programs_of(device))

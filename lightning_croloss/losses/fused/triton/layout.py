"""Layout: the sizes of blocks and tiles, and how many programs share a sweep."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Cut(NamedTuple):
    """How one kernel cuts the score matrix.

    Attributes:
        rows: rows of a block, a power of two from 16 on.
        columns: candidates of a tile, likewise.
        warps: warps of a program.
        stages: tiles that are on their way from memory at a time.
    """

    rows: int
    columns: int
    warps: int
    stages: int


#: For each type of the products: up to which padded width, and the cuts of the forward and backward sweeps.
#: They are the largest whose numbers fit the registers by what the compiler says for compute capability 9.0.
CUTS = {
    torch.bfloat16: (
        (128, Cut(128, 64, 8, 3), Cut(64, 128, 8, 3)),
        (256, Cut(64, 64, 8, 3), Cut(64, 64, 8, 3)),
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
#: Programs that a multiprocessor holds at a time.
_PROGRAMS_EACH = 2


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
        programs = 1
        if device.type == "cuda":
            programs = _PROGRAMS_EACH * torch.cuda.get_device_properties(device).multi_processor_count
        padded = padded_width(width)
        _, sweep, gradient = next(entry for entry in CUTS[dtype] if padded <= entry[0])
        return cls(sweep, gradient, programs)

    def parts(self, several: int, steps: int) -> tuple[int, int]:
        """Divide the steps of programs among more of them, if these are too few to fill the device.

        Args:
            several: number of programs.
            steps: steps that each of them has, at least one.

        Returns:
            Into how many parts to divide them, none of which is empty, and steps of a part.
        """
        of_part = -(-steps // max(1, min(steps, self.programs // several)))
        return -(-steps // of_part), of_part


def padded_width(width: int) -> int:
    """Return the power of two, at least 16, that holds a vector's width."""
    return max(16, 1 << (width - 1).bit_length())

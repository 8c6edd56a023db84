"""Layout: the sizes of blocks and tiles, and how many programs share a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import torch

#: Programs that a multiprocessor holds at a time.
_PROGRAMS_EACH = 2


@dataclass(frozen=True)
class Layout:
    """How the kernels cut the score matrix.

    Attributes:
        rows: rows of a block, a power of two from 16 on.
        columns: candidates of a tile, likewise.
        warps: warps of a program.
        stages: tiles that are on their way from memory at a time.
        programs: programs that fill the device.
    """

    rows: int
    columns: int
    warps: int
    stages: int
    programs: int

    @classmethod
    def choose(cls, width: int, dtype: torch.dtype, device: torch.device) -> Layout:
        """Choose for vectors of a width, products of a type and a device."""
        programs = 1
        if device.type == "cuda":
            programs = _PROGRAMS_EACH * torch.cuda.get_device_properties(device).multi_processor_count
        padded = padded_width(width)
        if dtype == torch.float32:  # without tensor cores: registers are what is short
            rows, columns, warps, stages = (64, 64, 8, 2) if padded <= 64 else (32, 32, 8, 1)
        elif padded <= 128:
            rows, columns, warps, stages = 128, 64, 8, 3
        else:
            rows, columns, warps, stages = (64, 64, 8, 2) if padded <= 256 else (32, 32, 8, 2)
        return cls(rows, columns, warps, stages, programs)

    def parts(self, several: int, each: int) -> tuple[int, int]:
        """Divide the steps of every program among so many that the device is full.

        Args:
            several: number of programs that cannot be fewer.
            each: steps that each of them has.

        Returns:
            Into how many parts to divide them, none of which is empty, and steps of a part.
        """
        steps = -(-each // max(1, min(each, self.programs // several)))
        return -(-each // steps), steps


def padded_width(width: int) -> int:
    """Return the power of two, at least 16, that holds a vector's width."""
    return max(16, 1 << (width - 1).bit_length())

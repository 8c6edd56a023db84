"""ScorePlan: what the computation from a matrix of scores goes by, and how the matrix is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_croloss.losses.batches.positives import Positives
from lightning_croloss.losses.fused.plan import LossPlan

#: Scores of a block: what one core's cache holds twice, and what a device computes without many kernels.
BLOCK_ON_CPU, BLOCK_ON_DEVICE = 2**18, 2**25


@dataclass(frozen=True)
class ScorePlan(LossPlan):
    """What a computation from scores goes by; its rows are the P positives.

    Attributes:
        mask: (C,) or (R, C) bool, True = ignore; None = nothing is ignored.
        positives: which columns are the positives; None = they are no columns, and positive i is row i's.
    """

    mask: Tensor | None
    positives: Positives | None

    @property
    def several(self) -> bool:
        """Whether rows and positives are not the same, one by one."""
        return self.positives is not None and self.positives.rows is not None

    def blocks(self, columns: int) -> list[slice]:
        """Return the blocks of positives."""
        device, number = self.row_weight.device, self.row_weight.shape[0]
        size = BLOCK_ON_CPU * torch.get_num_threads() if device.type == "cpu" else BLOCK_ON_DEVICE
        rows = max(1, size // columns)
        return [slice(first, min(first + rows, number)) for first in range(0, number, rows)]


@dataclass(frozen=True)
class RowsOfBlock:
    """The rows of the scores that a block of positives belongs to.

    Attributes:
        rows: (k,) these rows.
        owner: (b,) for each positive of the block, which of them.
        positions: flattened positions in (k, C) of all their positives, those of other blocks too.
    """

    rows: Tensor
    owner: Tensor
    positions: Tensor

    @classmethod
    def of(cls, positives: Positives, blocks: list[slice], columns: int) -> Iterator[RowsOfBlock]:
        """Yield those of each block of positives, whose rows are given."""
        assert positives.rows is not None
        kept, owner, counts = torch.unique_consecutive(
            positives.rows, return_inverse=True, return_counts=True
        )
        ends = counts.cumsum(0)
        first = owner[[block.start for block in blocks]]
        last = owner[[block.stop - 1 for block in blocks]]
        bounds = torch.stack([first, last, ends[first] - counts[first], ends[last]]).T.tolist()
        positions = owner * columns + positives.columns
        for block, (low, high, start, stop) in zip(blocks, bounds, strict=True):
            yield cls(kept[low : high + 1], owner[block] - low, positions[start:stop] - low * columns)

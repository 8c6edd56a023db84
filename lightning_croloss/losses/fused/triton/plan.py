"""TritonPlan, and IgnoredPairs: what the kernels in Triton go by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.losses.batches.accidental_hits import SortedIds, listed_pairs
from lightning_croloss.losses.batches.metadata import BatchMetadata
from lightning_croloss.losses.fused.plan import LossPlan
from lightning_croloss.losses.fused.triton.layout import Cut, Layout

#: Most pairs of row and candidate, of a byte each, for which there is a mask.
MOST_MASKED = 2**26


class ListedPairs(NamedTuple):
    """Pairs of row and candidate, tile by tile.

    Attributes:
        places: (P,) int32, each as ``row · columns + column`` within its tile.
        starts: (blocks · tiles + 1,) int32 where those of each tile begin, the tiles of a block together.
    """

    places: Tensor
    starts: Tensor


@dataclass(frozen=True)
class IgnoredPairs:
    """Which pairs of row and candidate to ignore.

    Targets and padding are compared within each tile. Lists of excluded items are too long for that: they
    become a mask, so that nothing waits for the device, or of many pairs a list, whose length the device has
    to be asked for.

    Attributes:
        shape: (B, M).
        candidate_ids: (M,) int64, 0 = padding; None = every candidate counts.
        target_ids: (B,) int64 id that each row ignores; None = none.
        mask: (B, M) uint8, 1 = further pairs; None = none.
        listed: rows and columns (P,) of further pairs; None = none.
    """

    shape: tuple[int, int]
    candidate_ids: Tensor | None = None
    target_ids: Tensor | None = None
    mask: Tensor | None = None
    listed: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, metadata: BatchMetadata, rows: int, columns: int) -> IgnoredPairs:
        """Return those of a batch of as many rows and candidates, which the rows share."""
        ids, targets, excluded = metadata.candidate_ids, metadata.target_ids, metadata.excluded_ids
        if ids is None:
            return cls((rows, columns))
        targets = None if targets is None else targets.contiguous()
        mask, listed = None, None
        if excluded is not None and 0 < rows * columns <= MOST_MASKED:
            mask = SortedIds.of(ids).among(excluded).view(torch.uint8)
        elif excluded is not None:
            listed = listed_pairs(ids, excluded)
        return cls((rows, columns), ids.contiguous(), targets, mask, listed)

    def by_tile(self, cut: Cut) -> ListedPairs | None:
        """Return the further pairs for a kernel that cuts the score matrix in its way."""
        if self.listed is None or not len(self.listed[0]):
            return None
        row, column = self.listed
        blocks, tiles = -(-self.shape[0] // cut.rows), -(-self.shape[1] // cut.columns)
        key, order = (row // cut.rows * tiles + column // cut.columns).sort()
        place = row % cut.rows * cut.columns + column % cut.columns
        bounds = torch.arange(blocks * tiles + 1, device=key.device)
        return ListedPairs(place[order].int(), torch.searchsorted(key, bounds, out_int32=True))


@dataclass(frozen=True)
class TritonPlan(LossPlan):
    """What a computation by the kernels in Triton goes by.

    Attributes:
        ignored: which pairs to ignore.
        layout: how the score matrix is cut.
        product_dtype: type of the factors of the matrix products.
        unit_candidates: whether the candidates are brought to unit length on the way.
        spare_memory: for the candidates' gradient.
    """

    ignored: IgnoredPairs
    layout: Layout
    product_dtype: torch.dtype
    unit_candidates: bool = False
    spare_memory: SpareMemory = field(default_factory=SpareMemory)

"""TritonPlan and IgnoredPairs: what the kernels in Triton go by."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_croloss.common.item_lists import Ids
from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.losses.batches.accidental_hits import listed_pairs
from lightning_croloss.losses.batches.metadata import BatchMetadata
from lightning_croloss.losses.fused.plan import LossPlan
from lightning_croloss.losses.fused.triton.layout import Layout


@dataclass(frozen=True)
class IgnoredPairs:
    """Which pairs of row and candidate to ignore.

    Targets and padding are compared within each tile, so that nothing waits for the device. Only lists of
    excluded items are looked up before, as there would be too many to compare with every candidate.

    Attributes:
        candidate_ids: (M,) int64, 0 = padding; None = every candidate counts.
        target_ids: (B,) int64 id that each row ignores; None = none.
        listed: (P,) int32 further pairs tile by tile, as ``row · columns + column`` within it; None = none.
        starts: (blocks · tiles + 1,) int32 where those of each tile begin, the tiles of a block together.
    """

    candidate_ids: Tensor | None = None
    target_ids: Tensor | None = None
    listed: Tensor | None = None
    starts: Tensor | None = None

    @classmethod
    def of(cls, metadata: BatchMetadata, rows: int, layout: Layout) -> IgnoredPairs:
        """Return those of a batch with as many rows, whose candidates the rows share."""
        ids, targets = metadata.candidate_ids, metadata.target_ids
        if ids is None:
            return cls()
        listed, starts = None, None
        if metadata.excluded_ids is not None:
            listed, starts = _by_tile(ids, metadata.excluded_ids, rows, layout)
        return cls(ids.contiguous(), None if targets is None else targets.contiguous(), listed, starts)


def _by_tile(
    candidate_ids: Tensor, excluded_ids: Ids, rows: int, layout: Layout
) -> tuple[Tensor | None, Tensor | None]:
    row, column = listed_pairs(candidate_ids, excluded_ids)
    if not len(row):
        return None, None
    blocks, tiles = -(-rows // layout.rows), -(-len(candidate_ids) // layout.columns)
    key = row // layout.rows * tiles + column // layout.columns
    key, order = key.sort()
    place = row % layout.rows * layout.columns + column % layout.columns
    bounds = torch.arange(blocks * tiles + 1, device=key.device)
    return place[order].int(), torch.searchsorted(key, bounds, out_int32=True)


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

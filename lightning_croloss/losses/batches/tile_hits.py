"""TileHits: the accidental hits of one tile of scores at a time, wherever the scores are."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from lightning_croloss.common.item_lists import Ids
from lightning_croloss.losses.batches.accidental_hits import AccidentalHits, SortedIds


class TileHits(Protocol):
    """Candidates that rows must ignore, tile by tile."""

    def ignore(self, scores: Tensor, block: int, tile: int, value: float) -> None:
        """Set the scores of ignored pairs to ``value``, in place.

        Args:
            scores: contiguous scores of one tile, (rows, width).
            block: number of the block of rows.
            tile: number of the tile within the block.
            value: what the kernels take for "far below".
        """


def hits_by_tile(
    candidate_ids: Tensor, target_ids: Tensor | None, excluded_ids: Ids | None, rows: int, width: int
) -> TileHits:
    """Return the hits among candidates that the rows share.

    A list of all hits is fastest on a CPU. Its length follows from the ids, and an accelerator would have to
    be waited for to learn it: there each tile is compared instead.

    Args:
        candidate_ids: (M,) item ids; 0 = padding.
        target_ids: (B,) or None: a candidate equal to its row's target is ignored.
        excluded_ids: (B, E) padded with 0, or lists, or None: so are these.
        rows: rows of a tile.
        width: candidates of a tile; the last tile may be narrower.
    """
    found = AccidentalHits if candidate_ids.device.type == "cpu" else ComparedHits
    return found(candidate_ids, target_ids, excluded_ids, rows, width)


class ComparedHits:
    """The hits of a tile, found by comparing its ids when the tile is there; no size depends on an id.

    Args:
        candidate_ids: as for :func:`hits_by_tile`, likewise the others.
        target_ids: (B,) or None.
        excluded_ids: (B, E), lists, or None.
        rows: rows of a tile.
        width: candidates of a tile.
    """

    def __init__(
        self,
        candidate_ids: Tensor,
        target_ids: Tensor | None,
        excluded_ids: Ids | None,
        rows: int,
        width: int,
    ) -> None:
        self._ids = candidate_ids.split(width)
        self._target_ids, self._excluded_ids, self._rows = target_ids, excluded_ids, rows
        self._sorted: dict[int, SortedIds] = {}

    def ignore(self, scores: Tensor, block: int, tile: int, value: float) -> None:
        """Set the scores of ignored pairs to ``value``, see :class:`TileHits`."""
        ids, first = self._ids[tile], block * self._rows
        rows = slice(first, first + len(scores))
        ignored = ids == 0
        if self._target_ids is not None:
            ignored = ignored | (ids == self._target_ids[rows].unsqueeze(1))
        if self._excluded_ids is not None:
            if tile not in self._sorted:
                self._sorted[tile] = SortedIds.of(ids)
            ignored = ignored | self._sorted[tile].among(self._excluded_ids[rows])
        scores.masked_fill_(ignored, value)

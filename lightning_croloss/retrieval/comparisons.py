"""Comparisons of all scores with those of pairs, a tile at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.retrieval.pairs import Pairs

# the most columns whose sum of ones is exact in float32
_MOST_COLUMNS = 2**24


class Comparisons:
    """Counts how many scores of a block's rows are below those of pairs.

    Users have very different numbers of pairs: a column of pairs that every row fills is compared with the
    tile as it is, the rest row by row, at most b rows at a time.

    Args:
        pairs: the pairs, (P,).
        scores: (P,) their scores.
        shape: (b, T) of the ids that hold them.
        without: which of them are left out.
    """

    def __init__(self, pairs: Pairs, scores: Tensor, shape: torch.Size, without: list[slice]) -> None:
        numbers = torch.arange(len(pairs.rows), device=pairs.rows.device)
        whole: list[Tensor] = []
        if without:
            left = torch.ones_like(numbers, dtype=torch.bool)
            for part in without:
                left[part] = False
            numbers = numbers[left]
        else:
            filled = torch.bincount(pairs.columns, minlength=shape[1]) == shape[0]
            whole = [numbers[pairs.columns == column] for column in filled.nonzero().squeeze(1)]
            numbers = numbers[~filled[pairs.columns]]
        rest = [group for group in numbers.split(shape[0]) if len(group)]
        self._counts = [_Count(group, scores, pairs.rows[group]) for group in rest]
        self._counts += [_Count(group, scores, None) for group in whole]
        self._room: Tensor | None = None

    def add(self, tile: Tensor) -> None:
        """Count in a tile (b, w) of scores, which may be written over."""
        # a processor writes and adds numbers of 32 bits six times faster than bools
        fast = tile.device.type == "cpu" and tile.shape[1] <= _MOST_COLUMNS
        dtype = torch.float32 if fast else torch.bool
        for number, count in enumerate(self._counts, 1):
            compared = tile if count.rows is None else tile[count.rows]
            is_needed = count.rows is None and number < len(self._counts)
            # what nobody reads again takes the answers, which spares the cache of a processor the room
            room = self._room_of(tile, dtype) if is_needed or tile.dtype != dtype else compared
            count.add(compared, room[: len(compared)])

    def put_into(self, below: Tensor) -> None:
        """Write the numbers of scores into ``below`` (P,) int64, but for what was left out."""
        for count in self._counts:
            below[count.numbers] = count.below.long()

    def _room_of(self, tile: Tensor, dtype: torch.dtype) -> Tensor:
        if self._room is None or self._room.shape != tile.shape or self._room.dtype != dtype:
            self._room = torch.empty(tile.shape, dtype=dtype, device=tile.device)
        return self._room


class _Count:
    """How many scores are below those of some of the pairs.

    Args:
        numbers: (g,) which of the pairs.
        scores: (P,) scores of all pairs.
        rows: (g,) the row of each; None: pair i has row i, and there are no more rows.
    """

    def __init__(self, numbers: Tensor, scores: Tensor, rows: Tensor | None) -> None:
        self.numbers = numbers
        self.rows = rows
        self._bounds = scores[numbers].unsqueeze(1)
        # counts of tiles come as float32 or integers; float64 holds those of a catalogue exactly
        dtype = torch.float64 if scores.device.type == "cpu" else torch.int64
        self.below = torch.zeros(len(numbers), dtype=dtype, device=scores.device)

    def add(self, scores: Tensor, room: Tensor) -> None:
        """Count in the scores (g, w) of its rows; ``room`` (g, w) takes the answers, perhaps in place."""
        torch.lt(scores, self._bounds, out=room)
        # int32 is three times faster than int64
        self.below += room.sum(1, dtype=torch.int32 if room.dtype == torch.bool else None)

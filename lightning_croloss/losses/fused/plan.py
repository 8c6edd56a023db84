"""Tiling, LossPlan and Plan: how a batch is cut, and all that stays the same from block to block."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_croloss.common.products import multiplies_fast
from lightning_croloss.common.spare_memory import SpareMemory
from lightning_croloss.losses.batches.scored import Draws
from lightning_croloss.losses.batches.tile_hits import TileHits
from lightning_croloss.losses.fused.form import FusedForm

#: Most φ′ that a block of rows keeps on a CPU, 64 MiB of them.
MOST_KEPT = 2**24


@dataclass(frozen=True)
class Tiling:
    """How the score matrix is cut.

    Attributes:
        rows: rows of a block.
        width: candidates of a tile.
        product_dtype: type of the factors of the matrix products; None = that of the ranks. Sums are kept in
            the latter whatever the former.
        keeps: whether the φ′ of a block of rows is kept until the ranks of its rows are known, in one sweep
            over the candidates. If not it is computed again, in a second one.
    """

    rows: int
    width: int
    product_dtype: torch.dtype | None = None
    keeps: bool = True

    @classmethod
    def choose(cls, users: Tensor, candidates: Tensor) -> Tiling:
        """Choose for a device: tiles that fit a core's cache, and a block of bounded memory (64 MiB of φ′).

        On a CPU a block of few rows would read a large catalogue, and write its gradient, many times over.
        There all rows take two sweeps instead.

        Args:
            users: (B, D).
            candidates: (M, D).
        """
        number, columns = max(1, users.shape[0]), max(1, candidates.shape[0])
        if users.device.type != "cpu":
            rows = max(64, min(1024, 2**27 // columns // 64 * 64))
            return cls(rows, 2**24 // rows, _tiled_dtype(users, candidates))
        if min(number, 256) * columns > MOST_KEPT:
            return cls.of_two_sweeps(users, candidates, number)
        few, most = (size // columns // 16 * 16 for size in (3 * 2**20, MOST_KEPT))
        rows = _even(number, max(32, min(512, max(few, min(128, most)))))
        return cls(rows, _width(rows), _tiled_dtype(users, candidates))

    @classmethod
    def of_two_sweeps(cls, users: Tensor, candidates: Tensor, number: int) -> Tiling:
        """Choose for two sweeps, which keep nothing; the rows of a block follow from their number alone.

        Args:
            users: for device and type.
            candidates: likewise.
            number: of rows.
        """
        if users.device.type != "cpu":
            return cls(1024, 2**14, _tiled_dtype(users, candidates), keeps=False)
        rows = _even(max(1, number), 512)
        return cls(rows, _width(rows), _tiled_dtype(users, candidates), keeps=False)


def _even(number: int, most: int) -> int:
    """Return how many rows of a number make blocks of even size, at most so many."""
    return max(32, -(-number // -(-number // most)))


def _width(rows: int) -> int:
    """Return how many candidates a tile on a CPU has."""
    return max(512, 2**19 * torch.get_num_threads() // rows)


def factor_dtype(users: Tensor, candidates: Tensor) -> torch.dtype:
    """Return the type of both factors of the products on a device: the vectors', or autocast's."""
    device = users.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return torch.promote_types(users.dtype, candidates.dtype)


def _tiled_dtype(users: Tensor, candidates: Tensor) -> torch.dtype | None:
    """Return the same for tiles; None, the ranks', for a CPU that is no faster by it: the ranks gain."""
    dtype = factor_dtype(users, candidates)
    return dtype if not users.is_cpu or multiplies_fast(dtype) else None


@dataclass(frozen=True)
class LossPlan:
    """What one computation goes by, wherever the scores come from.

    Attributes:
        form: the loss.
        draws: number of draws and their weights.
        row_weight: (B,) weight of each row in the sum that is the loss, in the type of the ranks.
    """

    form: FusedForm
    draws: Draws
    row_weight: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Type of the ranks and of all sums."""
        return self.row_weight.dtype

    @property
    def scale(self) -> float:
        """Width of the kernel, by which scores are divided."""
        return self.form.kernel.width(self.form.temperature)


@dataclass(frozen=True)
class Plan(LossPlan):
    """What a computation from vectors goes by.

    Attributes:
        hits: which candidates to ignore; None = none.
        tiling: how the score matrix is cut.
        unit_candidates: whether the candidates are brought to unit length on the way.
        spare_memory: for the candidates' gradient.
    """

    hits: TileHits | None
    tiling: Tiling
    unit_candidates: bool = False
    spare_memory: SpareMemory = field(default_factory=SpareMemory)

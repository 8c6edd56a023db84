"""How the kernels that count are started."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_croloss.common.triton_grid import on_device, padded_width, parts_of, programs_of
from lightning_croloss.retrieval.pairs import Pairs
from lightning_croloss.retrieval.triton.compiled import count_kernel, pairs_kernel

#: Users and items of a tile, and warps of a program.
ROWS, COLUMNS, WARPS = 64, 64, 8
#: Three products of 11 bits each are as precise as float32, and of tensor cores.
PRECISION = "tf32x3"
#: Most targets that a program compares a tile with.
_LARGEST_GROUP = 16


def scores_of_pairs(users: Tensor, items: Tensor, pairs: Pairs) -> Tensor:
    """Return the scores (P,) of pairs.

    Args:
        users: (b, K, D).
        items: (N, D).
        pairs: P pairs of a user and an item, ids from 1.
    """
    found = torch.empty(len(pairs.ids), dtype=torch.float32, device=users.device)
    if len(found):
        with on_device(users.device):
            pairs_kernel[(-(-len(found) // ROWS),)](
                users.contiguous(),
                items,
                pairs.rows,
                pairs.ids - 1,
                found,
                pairs=len(found),
                **_told(users, items),
            )
    return found


def count_below(users: Tensor, items: Tensor, targets: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """Compare the targets' scores with those of all items.

    Args:
        users: (b, K, D).
        items: (N, D).
        targets: (b, T) ids from 1, 0 = padding.
        bounds: (b, T) scores of the targets.

    Returns:
        (b, T) int64 numbers of items whose score is below; and (b, T) the targets' scores among all these.
    """
    (rows, number), columns = targets.shape, len(items)
    tiles, blocks = -(-columns // COLUMNS), -(-rows // ROWS)
    group = min(_LARGEST_GROUP, 1 << (number - 1).bit_length())
    groups = -(-number // group)
    parts, tiles_of_part = parts_of(blocks * groups, tiles, programs_of(users.device))
    below = torch.empty(parts, rows, number, dtype=torch.int32, device=users.device)
    own = torch.zeros_like(bounds)
    with on_device(users.device):
        count_kernel[(blocks, parts, groups)](
            users.contiguous(),
            items,
            bounds.contiguous(),
            (targets - 1).contiguous(),
            below,
            own,
            rows=rows,
            columns=columns,
            targets=number,
            tiles=tiles,
            tiles_of_part=tiles_of_part,
            GROUP=group,
            **_told(users, items),
        )
    return below.sum(0, dtype=torch.int64), own


def _told(users: Tensor, items: Tensor) -> dict[str, Any]:
    """Return the arguments that both kernels have."""
    width = users.shape[2]
    return {
        "item_stride": items.stride(0),
        "PRECISION": PRECISION if users.device.type == "cuda" else "interpreted",
        "INTERESTS": users.shape[1],
        "ROWS": ROWS,
        "COLUMNS": COLUMNS,
        "WIDTH": width,
        "PADDED": padded_width(width),
        "num_warps": WARPS,
        "num_stages": 2,
        "enable_fp_fusion": True,
    }

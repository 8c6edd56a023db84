"""Which pairs of row and candidate the sweeps ignore."""

import triton
import triton.language as tl

from lightning_croloss.losses.fused.triton.compiled.kernels import FAR


@triton.jit
def ignore_masked(x, mask, rows, columns, inside, number_of_columns):
    """Return x with pairs far below that a mask tells.

    Args:
        x: differences of a tile, rows and columns in either order, which the others fit by broadcasting.
        mask: (B, M) uint8, 1 = ignore; None = nothing.
        rows: which rows these are.
        columns: which columns.
        inside: whether a pair is within the mask.
        number_of_columns: M.
    """
    if mask is not None:
        places = mask + rows.to(tl.int64) * number_of_columns + columns
        x = tl.where(tl.load(places, mask=inside, other=0) != 0, FAR, x)
    return x


@triton.jit
def ignore_pairs(
    x,
    row_numbers,
    column_numbers,
    target_ids,
    candidate_ids,
    columns_inside,
    listed,
    listed_starts,
    block,
    tile,
    tiles,
    COLUMNS: tl.constexpr,
    TARGETS: tl.constexpr,
    IDS: tl.constexpr,
):
    """Return x with pairs that do not count far below.

    Args:
        x: differences of a tile, rows and columns in either order, which the others fit by broadcasting.
        row_numbers: numbers of the rows within the block.
        column_numbers: numbers of the columns within the tile.
        target_ids: ids that each row ignores.
        candidate_ids: ids of the columns; 0 = padding, and beyond the last.
        columns_inside: whether a column is a candidate.
        listed: places of further pairs in their tile, ``row · COLUMNS + column``; None = none.
        listed_starts: where in it each tile's begin.
        block: number of the block of rows.
        tile: number of the tile of candidates.
        tiles: number of all tiles of candidates.
        COLUMNS: columns of a tile.
        TARGETS: whether there are ``target_ids``.
        IDS: whether there are ``candidate_ids``.
    """
    if IDS:
        ignored = candidate_ids == 0
        if TARGETS:
            ignored = ignored | (candidate_ids == target_ids)
        x = tl.where(ignored, FAR, x)
    else:
        x = tl.where(columns_inside, x, FAR)
    if listed is not None:
        key = block * tiles + tile
        for number in range(tl.load(listed_starts + key), tl.load(listed_starts + key + 1)):
            place = tl.load(listed + number)
            hit = (row_numbers == place // COLUMNS) & (column_numbers == place % COLUMNS)
            x = tl.where(hit, FAR, x)
    return x

"""The backward sweep: a tile of candidates over a part of the rows, as one program each."""

import triton
import triton.language as tl

from lightning_croloss.common.triton_products import load_vectors, multiply
from lightning_croloss.losses.fused.triton.compiled.kernels import log_value_and_slope, value_and_slope
from lightning_croloss.losses.fused.triton.compiled.pairs import ignore_masked, ignore_pairs


@triton.jit(do_not_specialize=["rows", "columns", "tiles", "blocks", "blocks_of_part"])
def candidates_kernel(
    users,
    candidates,
    positive_scores,
    coefficients,
    log_scales,
    inverse_lengths,
    log_weights,
    target_ids,
    candidate_ids,
    mask,
    listed,
    listed_starts,
    gradients,
    rows,
    columns,
    candidate_stride,
    weight_stride,
    tiles,
    blocks,
    blocks_of_part,
    inverse_scale,
    parameter,
    KERNEL: tl.constexpr,
    LOGARITHMS: tl.constexpr,
    FINISHES: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Add up the candidates' gradient, for which φ′ is computed again; see ``sweep_kernel`` too.

    Args:
        users: (rows, WIDTH).
        candidates: (columns, WIDTH).
        positive_scores: (rows,).
        coefficients: (rows,) what the u φ′ of each row are multiplied by.
        log_scales: (rows,) what they are relative to, of a kernel that is summed by logarithms; else None.
        inverse_lengths: (columns,) or None.
        log_weights: (columns,), (rows, columns) or None.
        target_ids: (rows,) or None.
        candidate_ids: (columns,) or None.
        mask: or None.
        listed: or None.
        listed_starts: or None.
        gradients: (parts, columns, WIDTH) of each part of the rows.
        rows: number of rows.
        columns: number of candidates.
        candidate_stride: from one candidate to the next.
        weight_stride: from one row of weights to the next.
        tiles: number of tiles of candidates.
        blocks: number of blocks of rows.
        blocks_of_part: blocks that a program takes.
        inverse_scale: what products are multiplied by.
        parameter: of the kernel.
        KERNEL: name of φ.
        LOGARITHMS: whether it is summed by logarithms.
        FINISHES: whether the gradient is to be brought from unit vectors to the candidates, which needs all
            of the rows.
        PRECISION: of products in float32.
        ROWS: of a block.
        COLUMNS: of a tile.
        WIDTH: of a vector.
        PADDED: the power of two that holds it.
    """
    tile, part = tl.program_id(0), tl.program_id(1)
    column_numbers = tl.arange(0, COLUMNS)
    column = tile * COLUMNS + column_numbers
    column_inside = column < columns
    raw = load_vectors(candidates, column, column_inside, candidate_stride, WIDTH, PADDED)
    vectors = raw.to(users.dtype.element_ty)
    lengths = tl.full([COLUMNS, 1], 1.0, tl.float32)
    if inverse_lengths is not None:
        lengths = tl.load(inverse_lengths + column, mask=column_inside, other=0.0)[:, None]
    ids = tl.zeros([COLUMNS, 1], tl.int64)
    if candidate_ids is not None:
        ids = tl.load(candidate_ids + column, mask=column_inside, other=0)[:, None]
    gradient = tl.zeros([COLUMNS, PADDED], tl.float32)

    first = part * blocks_of_part
    for block in range(first, tl.minimum(first + blocks_of_part, blocks)):
        numbers = tl.arange(0, ROWS)
        row = block * ROWS + numbers
        row_inside = row < rows
        user = load_vectors(users, row, row_inside, WIDTH, WIDTH, PADDED)
        positive = tl.load(positive_scores + row, mask=row_inside, other=0.0)[None, :]
        coefficient = tl.load(coefficients + row, mask=row_inside, other=0.0)[None, :]
        target = tl.zeros([1, ROWS], tl.int64)
        if target_ids is not None:
            target = tl.load(target_ids + row, mask=row_inside, other=0)[None, :]
        x = (
            multiply(vectors, tl.trans(user), tl.zeros([COLUMNS, ROWS], tl.float32), PRECISION)
            * inverse_scale
        )
        if inverse_lengths is not None:
            x = x * lengths
        x = ignore_pairs(
            x - positive,
            numbers[None, :],
            column_numbers[:, None],
            target,
            ids,
            column_inside[:, None],
            listed,
            listed_starts,
            block,
            tile,
            tiles,
            COLUMNS,
            target_ids is not None,
            candidate_ids is not None,
        )
        x = ignore_masked(
            x, mask, row[None, :], column[:, None], row_inside[None, :] & column_inside[:, None], columns
        )
        log_weight = tl.zeros([1, 1], tl.float32)
        if log_weights is not None:
            places = row.to(tl.int64)[None, :] * weight_stride + column[:, None]
            inside = row_inside[None, :] & column_inside[:, None]
            log_weight = tl.load(log_weights + places, mask=inside, other=0.0)
        if LOGARITHMS:
            scale = tl.load(log_scales + row, mask=row_inside, other=0.0)[None, :]
            terms, slope = log_value_and_slope(x, parameter, KERNEL)
            slope = slope * tl.exp(terms + log_weight - scale)
        else:
            _, slope = value_and_slope(x, parameter, KERNEL)
            if log_weights is not None:
                slope = slope * tl.exp(log_weight)
        factor = (slope * coefficient).to(users.dtype.element_ty)
        gradient = multiply(factor, user, gradient, PRECISION)

    if FINISHES:  # of v / |v|: what points along it is lost
        unit = raw.to(tl.float32) * lengths
        along = tl.sum(gradient * unit, 1)[:, None]
        gradient = (gradient - unit * along) * lengths
    dims = tl.arange(0, PADDED)
    places = (part * columns + column).to(tl.int64)[:, None] * WIDTH + dims[None, :]
    inside = column_inside[:, None] & (dims < WIDTH)[None, :]
    tl.store(gradients + places, gradient.to(gradients.dtype.element_ty), mask=inside)

"""The forward sweep: a block of rows over a part of the candidates, as one program each."""

import triton
import triton.language as tl

from lightning_croloss.common.triton_products import load_vectors, multiply
from lightning_croloss.losses.fused.triton.compiled.kernels import log_value_and_slope, value_and_slope
from lightning_croloss.losses.fused.triton.compiled.pairs import ignore_masked, ignore_pairs

LOWEST = tl.constexpr(-3e38)


@triton.jit(do_not_specialize=["rows", "columns", "tiles", "tiles_of_part"])
def sweep_kernel(
    users,
    candidates,
    positive_scores,
    inverse_lengths,
    log_weights,
    target_ids,
    candidate_ids,
    mask,
    listed,
    listed_starts,
    sums,
    other_sums,
    slope_sums,
    products,
    rows,
    columns,
    candidate_stride,
    weight_stride,
    tiles,
    tiles_of_part,
    inverse_scale,
    parameter,
    other_ratio,
    other_parameter,
    KERNEL: tl.constexpr,
    LOGARITHMS: tl.constexpr,
    OTHER: tl.constexpr,
    OTHER_LOGARITHMS: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Add up Σ u φ, or its logarithm, and for gradients Σ u φ′ and Σ u φ′ times the candidates.

    Those for gradients are relative to the sum of the part where that is a logarithm.

    Args:
        users: (rows, WIDTH), contiguous, in the type of the products.
        candidates: (columns, WIDTH).
        positive_scores: (rows,) divided by the scale.
        inverse_lengths: (columns,) what candidates are multiplied by; None = 1.
        log_weights: (columns,) or (rows, columns) log u; None = 0.
        target_ids: (rows,) or None.
        candidate_ids: (columns,) or None.
        mask: (rows, columns) or None, see ``ignore_masked``.
        listed: see ``ignore_pairs``.
        listed_starts: likewise.
        sums: (parts, rows) of each part of the candidates.
        other_sums: (parts, rows) by the kernel OTHER, if that is not "".
        slope_sums: (parts, rows) or None.
        products: (parts, rows, WIDTH) or None.
        rows: number of rows.
        columns: number of candidates.
        candidate_stride: from one candidate to the next.
        weight_stride: from one row of ``log_weights`` to the next; 0 = shared.
        tiles: number of tiles of candidates.
        tiles_of_part: tiles that a program takes.
        inverse_scale: what products are multiplied by.
        parameter: of the kernel.
        other_ratio: what differences are multiplied by for OTHER.
        other_parameter: of OTHER.
        KERNEL: name of φ.
        LOGARITHMS: whether it is summed by logarithms.
        OTHER: name of the kernel of the Lambda method, "" = none.
        OTHER_LOGARITHMS: whether that is.
        PRECISION: of products in float32.
        ROWS: of a block.
        COLUMNS: of a tile.
        WIDTH: of a vector.
        PADDED: the power of two that holds it.
    """
    block, part = tl.program_id(0), tl.program_id(1)
    numbers = tl.arange(0, ROWS)
    row = block * ROWS + numbers
    row_inside = row < rows
    user = load_vectors(users, row, row_inside, WIDTH, WIDTH, PADDED)
    positive = tl.load(positive_scores + row, mask=row_inside, other=0.0)[:, None]
    target = tl.zeros([ROWS, 1], tl.int64)
    if target_ids is not None:
        target = tl.load(target_ids + row, mask=row_inside, other=0)[:, None]

    largest = tl.full([ROWS], LOWEST, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    other_largest = tl.full([ROWS], LOWEST, tl.float32)
    other_total = tl.zeros([ROWS], tl.float32)
    slope_sum = tl.zeros([ROWS], tl.float32)
    product = tl.zeros([ROWS, PADDED], tl.float32)

    first = part * tiles_of_part
    for tile in range(first, tl.minimum(first + tiles_of_part, tiles)):
        column_numbers = tl.arange(0, COLUMNS)
        column = tile * COLUMNS + column_numbers
        column_inside = column < columns
        vectors = load_vectors(candidates, column, column_inside, candidate_stride, WIDTH, PADDED)
        vectors = vectors.to(users.dtype.element_ty)
        x = (
            multiply(user, tl.trans(vectors), tl.zeros([ROWS, COLUMNS], tl.float32), PRECISION)
            * inverse_scale
        )
        lengths = tl.full([1, COLUMNS], 1.0, tl.float32)
        if inverse_lengths is not None:
            lengths = tl.load(inverse_lengths + column, mask=column_inside, other=0.0)[None, :]
            x = x * lengths
        ids = tl.zeros([1, COLUMNS], tl.int64)
        if candidate_ids is not None:
            ids = tl.load(candidate_ids + column, mask=column_inside, other=0)[None, :]
        x = ignore_pairs(
            x - positive,
            numbers[:, None],
            column_numbers[None, :],
            target,
            ids,
            column_inside[None, :],
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
            x, mask, row[:, None], column[None, :], row_inside[:, None] & column_inside[None, :], columns
        )
        log_weight = tl.zeros([1, 1], tl.float32)
        if log_weights is not None:
            places = row.to(tl.int64)[:, None] * weight_stride + column[None, :]
            inside = row_inside[:, None] & column_inside[None, :]
            log_weight = tl.load(log_weights + places, mask=inside, other=0.0)
        if OTHER != "":
            if OTHER_LOGARITHMS:
                terms, _ = log_value_and_slope(x * other_ratio, other_parameter, OTHER)
                terms = terms + log_weight
                higher = tl.maximum(other_largest, tl.max(terms, 1))
                fresh = tl.sum(tl.exp(terms - higher[:, None]), 1)
                other_total = other_total * tl.exp(other_largest - higher) + fresh
                other_largest = higher
            else:
                terms, _ = value_and_slope(x * other_ratio, other_parameter, OTHER)
                if log_weights is not None:
                    terms = terms * tl.exp(log_weight)
                other_total += tl.sum(terms, 1)
        if LOGARITHMS:
            terms, slope = log_value_and_slope(x, parameter, KERNEL)
            terms = terms + log_weight
            higher = tl.maximum(largest, tl.max(terms, 1))
            before = tl.exp(largest - higher)
            value = tl.exp(terms - higher[:, None])
            total = total * before + tl.sum(value, 1)
            largest = higher
            if slope_sums is not None:
                slope = value * slope
                slope_sum = slope_sum * before + tl.sum(slope, 1)
                product = product * before[:, None]
        else:
            value, slope = value_and_slope(x, parameter, KERNEL)
            if log_weights is not None:
                weight = tl.exp(log_weight)
                value = value * weight
                slope = slope * weight
            total += tl.sum(value, 1)
            if slope_sums is not None:
                slope_sum += tl.sum(slope, 1)
        if products is not None:
            if inverse_lengths is not None:
                slope = slope * lengths
            factor = slope.to(users.dtype.element_ty)
            product = multiply(factor, vectors, product, PRECISION)

    place = part * rows + row
    if OTHER != "":
        if OTHER_LOGARITHMS:
            other_total = other_largest + tl.log(other_total)
        tl.store(other_sums + place, other_total, mask=row_inside)
    share = tl.full([ROWS], 1.0, tl.float32)
    if LOGARITHMS:
        share = 1.0 / total
        total = largest + tl.log(total)
    tl.store(sums + place, total, mask=row_inside)
    if slope_sums is not None:
        tl.store(slope_sums + place, slope_sum * share, mask=row_inside)
    if products is not None:
        dims = tl.arange(0, PADDED)
        places = products + place.to(tl.int64)[:, None] * WIDTH + dims[None, :]
        inside = row_inside[:, None] & (dims < WIDTH)[None, :]
        tl.store(places, product * share[:, None], mask=inside)

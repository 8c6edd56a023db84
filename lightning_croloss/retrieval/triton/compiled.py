"""What Triton compiles for ranks: scores of pairs, and how many scores are below."""

import triton
import triton.language as tl

from lightning_croloss.common.triton_products import load_vectors, multiply


@triton.jit
def best_scores(
    users,
    first,
    row,
    row_inside,
    vectors,
    PRECISION: tl.constexpr,
    INTERESTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Return the scores (ROWS, COLUMNS) of items (COLUMNS, PADDED): the largest over a user's interests.

    The first interest (ROWS, PADDED) is given, as it is the same for all tiles.
    """
    best = multiply(first, tl.trans(vectors), tl.zeros([ROWS, COLUMNS], tl.float32), PRECISION)
    for interest in range(1, INTERESTS):
        user = load_vectors(users, row * INTERESTS + interest, row_inside, WIDTH, WIDTH, PADDED)
        x = multiply(user, tl.trans(vectors), tl.zeros([ROWS, COLUMNS], tl.float32), PRECISION)
        best = tl.where((x > best) | (x != x), x, best)  # a NaN is the largest
    return best


@triton.jit(do_not_specialize=["pairs"])
def pairs_kernel(
    users,
    items,
    rows,
    places,
    scores,
    pairs,
    item_stride,
    PRECISION: tl.constexpr,
    INTERESTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Compute the scores of pairs, by products of the shape that ``count_kernel`` has.

    Args:
        users: (b, INTERESTS, WIDTH).
        items: (N, WIDTH).
        rows: (pairs,) user of each pair.
        places: (pairs,) item of each.
        scores: (pairs,) to be filled.
        pairs: their number.
        item_stride: from one item to the next.
        PRECISION: of the products.
        INTERESTS: vectors of a user.
        ROWS: pairs of a program, at most COLUMNS.
        COLUMNS: items of a tile.
        WIDTH: of a vector.
        PADDED: the power of two that holds it.
    """
    number = tl.arange(0, ROWS)
    pair = tl.program_id(0) * ROWS + number
    inside = pair < pairs
    column = tl.arange(0, COLUMNS)
    other = tl.program_id(0) * ROWS + column
    other_inside = (other < pairs) & (column < ROWS)
    row = tl.load(rows + pair, mask=inside, other=0)
    place = tl.load(places + other, mask=other_inside, other=0)
    vectors = load_vectors(items, place, other_inside, item_stride, WIDTH, PADDED)
    user = load_vectors(users, row * INTERESTS, inside, WIDTH, WIDTH, PADDED)
    x = best_scores(users, user, row, inside, vectors, PRECISION, INTERESTS, ROWS, COLUMNS, WIDTH, PADDED)
    own = tl.sum(tl.where(number[:, None] == column[None, :], x, 0.0), 1)
    tl.store(scores + pair, own, mask=inside)


@triton.jit(do_not_specialize=["rows", "columns", "targets", "tiles", "tiles_of_part"])
def count_kernel(
    users,
    items,
    bounds,
    places,
    below,
    own,
    rows,
    columns,
    targets,
    item_stride,
    tiles,
    tiles_of_part,
    PRECISION: tl.constexpr,
    INTERESTS: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Count the items whose score is below that of each target.

    Args:
        users: (rows, INTERESTS, WIDTH).
        items: (columns, WIDTH).
        bounds: (rows, targets) scores of the targets.
        places: (rows, targets) which items these are; −1 = none.
        below: (parts, rows, targets) int32 counts of each part of the items.
        own: (rows, targets) to be filled with the scores that the tiles have of the targets.
        rows: number of users.
        columns: number of items.
        targets: columns of the targets.
        item_stride: from one item to the next.
        tiles: number of tiles of items.
        tiles_of_part: tiles that a program takes.
        PRECISION: of the products.
        INTERESTS: vectors of a user.
        GROUP: targets that a program takes, a power of two.
        ROWS: users of a block.
        COLUMNS: items of a tile.
        WIDTH: of a vector.
        PADDED: the power of two that holds it.
    """
    block, part, group = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row = block * ROWS + tl.arange(0, ROWS)
    row_inside = row < rows
    in_group = tl.arange(0, GROUP)
    user = load_vectors(users, row * INTERESTS, row_inside, WIDTH, WIDTH, PADDED)
    counts = tl.zeros([ROWS, GROUP], tl.int32)
    first = part * tiles_of_part
    for tile in range(first, tl.minimum(first + tiles_of_part, tiles)):
        column = tile * COLUMNS + tl.arange(0, COLUMNS)
        column_inside = column < columns
        vectors = load_vectors(items, column, column_inside, item_stride, WIDTH, PADDED)
        x = best_scores(
            users, user, row, row_inside, vectors, PRECISION, INTERESTS, ROWS, COLUMNS, WIDTH, PADDED
        )
        for number in range(0, GROUP):
            target = group * GROUP + number
            inside = row_inside & (tl.zeros([ROWS], tl.int32) + target < targets)
            bound = tl.load(bounds + row * targets + target, mask=inside, other=0.0)
            place = tl.load(places + row * targets + target, mask=inside, other=-1)
            lower = (x < bound[:, None]) & column_inside[None, :]
            fresh = tl.sum(lower.to(tl.int32), 1)
            counts += tl.where(in_group[None, :] == number, fresh[:, None], 0)
            hit = column[None, :] == place[:, None]
            score = tl.sum(tl.where(hit, x, 0.0), 1)
            is_there = tl.max(hit.to(tl.int32), 1) > 0
            tl.store(own + row * targets + target, score, mask=inside & is_there)
    target = group * GROUP + in_group
    places_below = below + (part * rows + row)[:, None] * targets + target[None, :]
    tl.store(places_below, counts, mask=row_inside[:, None] & (target < targets)[None, :])

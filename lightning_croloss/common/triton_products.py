"""Vectors and matrix products inside of kernels; needs Triton, and is imported by what it compiles alone."""

import triton
import triton.language as tl


@triton.jit
def load_vectors(vectors, numbers, inside, stride, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """Return the vectors (n, PADDED) of some numbers (n,), zeros beyond WIDTH and where not inside."""
    dims = tl.arange(0, PADDED)
    places = vectors + numbers.to(tl.int64)[:, None] * stride + dims[None, :]
    mask = inside[:, None]
    if WIDTH != PADDED:
        mask = mask & (dims < WIDTH)[None, :]
    return tl.load(places, mask=mask, other=0.0)


@triton.jit
def multiply(a, b, total, PRECISION: tl.constexpr):
    """Return the matrix product a · b, added to ``total``, in float32.

    Triton's interpreter takes the bits of bfloat16 for integers: PRECISION "interpreted" gives it float32.
    """
    if PRECISION == "interpreted":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc=total, input_precision="ieee")
    else:
        return tl.dot(a, b, acc=total, input_precision=PRECISION)

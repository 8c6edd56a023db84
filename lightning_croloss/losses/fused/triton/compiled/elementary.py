"""Elementary functions that Triton lacks, or has too coarsely for sums of a million small terms."""

import triton
import triton.language as tl


@triton.jit
def log_of_one_plus(x):
    """Return log(1 + x) for 0 ≤ x ≤ 1, to the last bits of float32 relative to the result."""
    # 2 artanh(z), whose series ends below 2⁻²⁴ after eight terms as z² ≤ 1/9
    z = x / (2.0 + x)
    square = z * z
    series = 1.0 / 15.0
    series = series * square + 1.0 / 13.0
    series = series * square + 1.0 / 11.0
    series = series * square + 1.0 / 9.0
    series = series * square + 1.0 / 7.0
    series = series * square + 1.0 / 5.0
    series = series * square + 1.0 / 3.0
    return 2.0 * z * (series * square + 1.0)


@triton.jit
def softplus_of(x):
    """Return log(1 + exp x), which overflows nowhere."""
    return tl.where(x > 0.0, x, 0.0) + log_of_one_plus(tl.exp(-tl.abs(x)))


@triton.jit
def arc_tangent(x):
    """Return atan x, to 2·10⁻⁷ relative to the result."""
    size = tl.abs(x)
    # an eighth of a turn at a time: atan s = π/2 − atan(1/s) = π/4 + atan((s − 1) / (s + 1))
    far, middle = size > 2.414213562373095, size > 0.4142135623730950
    turn = tl.where(far, 1.5707963267948966, tl.where(middle, 0.7853981633974483, 0.0))
    above = tl.where(far, -1.0, tl.where(middle, size - 1.0, size))
    below = tl.where(far, size, tl.where(middle, size + 1.0, 1.0))
    z = above / below
    square = z * z
    series = 8.05374449538e-2 * square - 1.38776856032e-1
    series = series * square + 1.99777106478e-1
    series = series * square - 3.33329491539e-1
    angle = turn + (series * square * z + z)
    return tl.where(x < 0.0, -angle, angle)

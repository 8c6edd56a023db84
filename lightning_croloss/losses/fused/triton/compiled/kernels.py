"""The comparison kernels φ and their slopes, as Triton compiles them into the sweeps.

``x`` is in units of the kernel's width, as for ``Kernel.value_``; ``parameter`` is what ``choice`` says.
"""

import triton
import triton.language as tl

from lightning_croloss.losses.fused.triton.compiled.elementary import (
    arc_tangent,
    log_of_one_plus,
    softplus_of,
)
from lightning_croloss.losses.kernels.base import FAR_BELOW

FAR = tl.constexpr(FAR_BELOW)
#: Below it g of PSL counts as 0, see ``losses.kernels.pairwise_softmax``.
SMALLEST = tl.constexpr(2.0**-63)


@triton.jit
def value_and_slope(x, parameter, KERNEL: tl.constexpr):
    """Return φ and dφ/dx of a kernel that is summed as it is; what is not used costs nothing."""
    if KERNEL == "sigmoid":
        value = tl.sigmoid(x)
        slope = value * (1.0 - value)
    elif KERNEL == "softplus":
        small = tl.exp(-tl.abs(x))
        value = tl.where(x > 0.0, x, 0.0) + log_of_one_plus(small)
        slope = tl.where(x > 0.0, 1.0, small) / (1.0 + small)
    elif KERNEL == "hinge":
        value = tl.where(x < -parameter, 0.0, x + parameter)  # a NaN stays one
        slope = tl.where(value > 0.0, 1.0, 0.0)
    else:
        tl.static_assert(KERNEL == "heaviside")
        value = tl.where(x >= 0.0, 1.0, 0.0)
        slope = tl.zeros_like(x)
    return value, slope


@triton.jit
def log_value_and_slope(x, parameter, KERNEL: tl.constexpr):
    """Return log φ, finite everywhere, and its slope, of a kernel that is summed by logarithms."""
    if KERNEL == "exp":
        value = x
        slope = tl.full(x.shape, 1.0, tl.float32)
    elif KERNEL == "psl_tanh":
        value = (0.6931471805599453 - softplus_of(-2.0 * x)) * parameter
        slope = 2.0 * parameter * tl.sigmoid(-2.0 * x)
    else:
        if KERNEL == "psl_relu":
            y = 1.0 + x
            inner = tl.full(x.shape, 1.0, tl.float32)
        else:
            tl.static_assert(KERNEL == "psl_atan")
            y = 1.0 + arc_tangent(x)
            inner = 1.0 / (1.0 + x * x)
        inside = y > SMALLEST
        y = tl.where(inside, y, 1.0)
        value = tl.where(inside, tl.log(y) * parameter, FAR)
        slope = tl.where(inside, parameter * inner / y, 0.0)
    return tl.where(value < FAR, FAR, value), slope

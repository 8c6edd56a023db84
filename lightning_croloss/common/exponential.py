"""exp in place, by the fastest operator that the processor has for it."""

from __future__ import annotations

import math

from torch import Tensor

_LOG2_E = math.log2(math.e)


def exp_(x: Tensor) -> Tensor:
    """Replace each number of a tensor of float32 or float64 by its exponential, and return the tensor.

    On a processor by a power of 2, which is PyTorch's own code and of the same accuracy for numbers around 0.
    ``exp`` goes through MKL, and takes twice as long on a processor that is not of MKL's maker.

    Args:
        x: of any shape; far below 0 its rounding weighs more than that of ``exp``, as a float's own does.
    """
    return x.mul_(_LOG2_E).exp2_() if x.is_cpu else x.exp_()

"""Which losses the kernels in Triton can compute; nothing here imports it."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.common.triton_switch import takes_triton
from lightning_croloss.losses.batches.scored import rank_dtype
from lightning_croloss.losses.fused.form import FusedForm
from lightning_croloss.losses.fused.plan import factor_dtype
from lightning_croloss.losses.fused.triton.layout import LARGEST_WIDTH
from lightning_croloss.losses.kernels import (
    ExponentialKernel,
    HeavisideKernel,
    HingeKernel,
    Kernel,
    PairwiseSoftmaxKernel,
    PSLAtanKernel,
    PSLReluKernel,
    PSLTanhKernel,
    SigmoidKernel,
    SoftplusKernel,
)

#: The kernels φ that are written in Triton too: these classes and no others, not even derived ones.
WRITTEN: tuple[type[Kernel], ...] = (
    ExponentialKernel,
    SoftplusKernel,
    HingeKernel,
    SigmoidKernel,
    PSLTanhKernel,
    PSLReluKernel,
    PSLAtanKernel,
    HeavisideKernel,
)


#: Up to which width products of float32 that may be rounded to TF32 fit tiles of a size for tensor cores.
WIDEST_IN_FLOAT = 128


def pays(users: Tensor, candidates: Tensor) -> bool:
    """Return whether the kernels in Triton are faster than the portable path.

    Products of float32 to the last bits are not for tensor cores, and PyTorch's own are faster: twice at 128
    wide, much more beyond (on an H200, see ``benchmarks/gpu``).

    Args:
        users: (B, D).
        candidates: (M, D).
    """
    dtype, width = factor_dtype(users, candidates), users.shape[1]
    if dtype == torch.bfloat16:
        return width <= LARGEST_WIDTH
    rounds = torch.get_float32_matmul_precision() != "highest"
    return dtype == torch.float32 and rounds and width <= WIDEST_IN_FLOAT


def is_computable(form: FusedForm, users: Tensor, positives: Tensor, candidates: Tensor) -> bool:
    """Return whether a loss is to be computed by the kernels in Triton.

    Args:
        form: the loss.
        users: (B, D).
        positives: (B, D).
        candidates: (M, D).
    """
    kernels = (form.kernel,) if form.lambda_kernel is None else (form.kernel, form.lambda_kernel)
    return (
        takes_triton(users.device, pays(users, candidates))
        and all(type(kernel) in WRITTEN for kernel in kernels)
        and users.shape[1] <= LARGEST_WIDTH
        and rank_dtype(users.dtype, positives.dtype, candidates.dtype) == torch.float32
        and factor_dtype(users, candidates) in (torch.float32, torch.bfloat16)
    )


def parameter_of(kernel: Kernel, temperature: float) -> float:
    """Return the number that a kernel needs besides x: the margin of hinge, the power 1/τ of PSL."""
    if isinstance(kernel, HingeKernel):
        return kernel.margin
    return 1.0 / temperature if isinstance(kernel, PairwiseSoftmaxKernel) else 0.0

"""Comparison kernels φ: how much a negative that scores ``d = s_j − s₊`` more than the positive counts.

A kernel is increasing, non-negative and tends to 0 far to the left; the soft rank is
``1 + Σ_j u_j φ(d_j; τ)``. A new kernel is one class in a module of this folder, listed in :data:`KERNELS`,
which hands it to all tests. It works in the fused path as it is; in-place forms of φ and φ′ make it fast
there. On a GPU it takes the portable path until it is written in Triton too
(``losses/fused/triton/compiled/kernels.py``).
"""

from lightning_croloss.losses.kernels.base import FAR_BELOW, Kernel
from lightning_croloss.losses.kernels.exponential import ExponentialKernel
from lightning_croloss.losses.kernels.heaviside import HeavisideKernel
from lightning_croloss.losses.kernels.hinge import HingeKernel
from lightning_croloss.losses.kernels.pairwise_softmax import (
    PairwiseSoftmaxKernel,
    PSLAtanKernel,
    PSLReluKernel,
    PSLTanhKernel,
)
from lightning_croloss.losses.kernels.registry import KERNELS
from lightning_croloss.losses.kernels.sigmoid import SigmoidKernel
from lightning_croloss.losses.kernels.softplus import SoftplusKernel

__all__ = [
    "FAR_BELOW",
    "KERNELS",
    "ExponentialKernel",
    "HeavisideKernel",
    "HingeKernel",
    "Kernel",
    "PSLAtanKernel",
    "PSLReluKernel",
    "PSLTanhKernel",
    "PairwiseSoftmaxKernel",
    "SigmoidKernel",
    "SoftplusKernel",
]

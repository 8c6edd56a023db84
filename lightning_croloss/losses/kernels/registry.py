"""The registry of kernels: what a config file may name, and what the tests run over."""

from __future__ import annotations

from lightning_croloss.losses.kernels.base import Kernel
from lightning_croloss.losses.kernels.exponential import ExponentialKernel
from lightning_croloss.losses.kernels.heaviside import HeavisideKernel
from lightning_croloss.losses.kernels.hinge import HingeKernel
from lightning_croloss.losses.kernels.pairwise_softmax import PSLAtanKernel, PSLReluKernel, PSLTanhKernel
from lightning_croloss.losses.kernels.sigmoid import SigmoidKernel
from lightning_croloss.losses.kernels.softplus import SoftplusKernel

#: name -> kernel
KERNELS: dict[str, type[Kernel]] = {
    kernel.name: kernel
    for kernel in (
        ExponentialKernel,
        SoftplusKernel,
        HingeKernel,
        SigmoidKernel,
        PSLTanhKernel,
        PSLReluKernel,
        PSLAtanKernel,
        HeavisideKernel,
    )
}
